"""Rows of labels are held once, whoever counted them."""

import pickle

import numpy as np
import pytest
import torch

from applications.tasks.classify import Classify
from applications.tasks.label_meter import LabelMeter
from applications.tasks.label_prediction import prediction_rows, row_chunks
from criterions.elementwise import softmax
from criterions.weighted import Criterion
from dataloader.images.preprocess import Preprocess
from dataloader.sample import Batch

CLASSES = ("a", "b", "c")
GENERATOR = torch.Generator().manual_seed(0)
LOGITS, TARGETS = torch.randn(20, 3, generator=GENERATOR), torch.arange(20) % 3


@pytest.fixture
def task() -> Classify:
    return Classify(CLASSES, Criterion(softmax()), Preprocess(image_size=(2, 2)), torch.device("cpu"))


def fed(task: Classify, numbers: list[int], *, room: int = 20) -> LabelMeter:
    """Return a meter that has counted these images, three at a time."""
    meter = task.meter(room)
    for start in range(0, len(numbers), 3):
        indices = torch.tensor(numbers[start : start + 3])
        with torch.inference_mode():
            given = Batch(torch.zeros(len(indices), 3, 2, 2), TARGETS[indices], torch.ones(len(indices)), indices)
            meter.update(given, LOGITS[indices])
    return meter


def same(one: LabelMeter, other: LabelMeter) -> bool:
    pairs = zip(one.state(), other.state(), strict=True)
    return all(np.array_equal(*pair) for pair in pairs) and one.figures() == other.figures()


def test_the_rows_of_processes_meet_in_the_order_of_the_split(task: Classify) -> None:
    whole, first, second = fed(task, list(range(20))), fed(task, list(range(0, 20, 2))), fed(task, list(range(1, 20, 2)))
    first.merge(pickle.loads(pickle.dumps(second.state())))
    assert first.prediction.indices.tolist() == list(range(20))
    assert same(first, whole)
    empty = task.meter(20)
    first.merge(empty.state())
    assert same(first, whole), "a process without images adds none"


def test_rows_can_be_added_after_the_figures_were_asked_for(task: Classify) -> None:
    meter = fed(task, [3, 2, 1, 0])
    assert meter.prediction.indices.tolist() == [0, 1, 2, 3]
    meter.merge(fed(task, [5, 4]).state())
    assert meter.prediction.indices.tolist() == list(range(6))


def test_a_process_sends_its_own_rows_and_no_probabilities(task: Classify) -> None:
    meter = fed(task, list(range(5)), room=1000)
    _ = meter.prediction.probabilities
    assert sum(each.nbytes for each in meter.state()) == 5 * (8 + 8 + 4 + 3 * 4)


def test_rows_that_stand_for_no_image_are_left_out(task: Classify) -> None:
    assert fed(task, [0, 1, -1, -1, 2]).prediction.indices.tolist() == [0, 1, 2]


def test_more_rows_than_were_announced_find_room(task: Classify) -> None:
    assert same(fed(task, list(range(20)), room=2), fed(task, list(range(20))))


def test_logits_are_held_once_and_targets_as_whole_numbers(task: Classify) -> None:
    meter = fed(task, list(range(20)))
    prediction = meter.prediction
    assert prediction.targets.dtype == torch.int64
    assert np.shares_memory(prediction.logits.numpy(), meter.state()[3])
    warmer = prediction.at_temperature(2.0)
    assert warmer.logits is prediction.logits
    assert torch.equal(warmer.probabilities, (LOGITS / 2).softmax(1))


def test_the_figures_follow_the_temperature_that_was_chosen(task: Classify) -> None:
    meter = fed(task, list(range(20)))
    task.calibrate(meter)
    assert task.chosen.temperature != 1
    assert meter.prediction.temperature == task.chosen.temperature


def test_chunks_of_rows_are_all_of_them() -> None:
    values = np.zeros((10, 4_000_000 // 3), dtype=bool)
    found = [np.arange(10)[rows].tolist() for rows in row_chunks(values)]
    assert found == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert len(list(row_chunks(values[:0]))) == 1


def test_the_rows_of_a_table_are_made_as_they_are_asked_for(task: Classify) -> None:
    meter = fed(task, list(range(20)))
    asked: list[int] = []

    def said():
        for number in range(20):
            asked.append(number)
            yield "a", "b"

    rows = prediction_rows(meter.prediction, [f"{number}.png" for number in range(20)], CLASSES, said())
    assert next(rows) == ["path", "true", "predicted", *CLASSES]
    path, _, _, *shares = next(rows)
    assert (path, len(asked)) == ("0.png", 1)
    assert np.array_equal(np.array(shares, dtype=np.float32), meter.prediction.probabilities[0].numpy())
