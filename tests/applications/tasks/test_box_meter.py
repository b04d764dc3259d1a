"""What a meter of boxes keeps: the same over any number of processes; the confidence is chosen and stored."""

import numpy as np
import pytest
import torch

from applications.tasks.box_answers import Choice
from applications.tasks.box_meter import BoxMeter, BoxOutputs, BoxRows
from applications.tasks.box_task import USUAL_CONFIDENCE, BoxTask
from dataloader.images.preprocess import Preprocess
from dataloader.sample import Batch
from dataloader.targets.boxes import Boxes
from utils.metrics.box_reliability import box_reliability

SIZE = (64, 64)


def boxes_of(seed: int, size: tuple[int, int] = SIZE) -> Boxes:
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 40, (3, 2))
    corners = np.concatenate([start, start + rng.uniform(8, 20, (3, 2))], axis=1).astype(np.float32)
    return Boxes(corners, rng.integers(0, 2, 3), size)


def outputs_for(boxes: list[Boxes]) -> BoxOutputs:
    """Return an answer near every box, by a sure network, and one elsewhere."""
    rows = []
    for number, each in enumerate(boxes):
        rng = np.random.default_rng(number)
        corners = np.concatenate([each.corners + rng.normal(0, 1, each.corners.shape), [[0, 0, 5, 5]]])
        scores = np.full((4, 2), 0.05)
        scores[np.arange(3), each.classes] = 0.5 + 0.4 * rng.random(3)
        rows.append(np.concatenate([corners, np.ones((4, 1)), scores], axis=1))
    return BoxOutputs(torch.from_numpy(np.stack(rows)).float(), torch.full((len(boxes),), 2.0))


def counted(meter: BoxMeter, indices: list[int], known: dict[int, Boxes]) -> BoxMeter:
    boxes = [known[index] for index in indices if index >= 0]
    padded = boxes + [boxes[0]] * (len(indices) - len(boxes))
    batch = Batch(torch.empty(len(indices), 3, *SIZE), Boxes.stack(padded), torch.ones(len(indices)), torch.tensor(indices))
    meter.update(batch, outputs_for(padded))
    return meter


def new_meter() -> BoxMeter:
    return BoxMeter(("a", "b"), Choice(0.001))


def test_shares_of_processes_give_the_figures_of_one() -> None:
    known = {index: boxes_of(index) for index in range(7)}
    whole, first, second = new_meter(), new_meter(), new_meter()
    for indices in ([0, 2], [1, 3], [4, 5], [6, -1]):
        counted(whole, indices, known)
    counted(counted(second, [1, 3], known), [6, -1], known)
    counted(counted(first, [0, 2], known), [4, 5], known)
    assert first.figures() != whole.figures()
    first.merge(second.state())
    assert first.figures() == whole.figures()
    assert first.figures()["loss"] == 2.0
    assert first.positions == list(range(7))


def test_padding_counts_for_nothing() -> None:
    known = {index: boxes_of(index) for index in range(3)}
    alone = counted(new_meter(), [0], known).figures()
    assert counted(new_meter(), [0, -1], known).figures() == alone


def test_boxes_of_the_network_and_of_the_image_are_equally_good() -> None:
    large = {index: boxes_of(index, (64, 64)) for index in range(4)}
    meter = counted(new_meter(), list(range(4)), large)
    rows = BoxRows(("a", "b"), Choice(0.001), large.__getitem__, Preprocess(SIZE, "fit", (0.0,) * 3, (1.0,) * 3))
    counted(rows, list(range(4)), large)
    for name, value in meter.figures().items():
        assert rows.figures()[name] == pytest.approx(value, abs=1e-6)


def test_a_network_without_answers_or_with_one_class_is_noticed() -> None:
    known = {index: boxes_of(index) for index in range(4)}
    assert new_meter().one_answer() == ""
    silent = BoxMeter(("a", "b"), Choice(0.99))
    assert counted(silent, [0, 1], known).one_answer() == "none of 2 images is answered with a box"
    one = counted(BoxMeter(("a", "b"), Choice(0.5, thresholds=(0.001, 2.0))), [0, 1, 2, 3], known)
    assert one.one_answer() == "all boxes are answered 'a'"


class Task(BoxTask):
    classes = ("a", "b")


def test_the_confidence_is_chosen_stored_and_read_back() -> None:
    task, other = Task(), Task()
    known = {index: boxes_of(index) for index in range(6)}
    task.calibrate(counted(task.meter(6), list(range(6)), known))
    # Sure answers are right, those of 0.05 are not.
    assert 0.05 < task.confidence <= 0.9
    other.load_calibration(task.calibration())
    assert other.confidence == task.confidence
    other.load_calibration({})
    assert other.confidence == USUAL_CONFIDENCE


def test_images_without_objects_choose_no_confidence() -> None:
    task = Task()
    task.calibrate(task.meter(1))
    assert task.confidence == USUAL_CONFIDENCE


def test_a_fitted_temperature_brings_scores_to_the_share_that_is_right_and_leaves_ap() -> None:
    task, known = Task(), {index: boxes_of(index) for index in range(40)}
    meter = counted(task.meter(40), list(range(40)), known)
    before, figures = box_reliability(meter.matches, 0.5).bins().error, meter.figures()
    # All answers of 0.5 and more are right, those of 0.05 are not.
    task.fit_temperature(meter)
    assert task.temperature < 0.7
    assert box_reliability(meter.matches, 0.5).bins().error < 0.5 * before
    assert meter.figures() == figures
    assert task.measured.confidence == pytest.approx(1 / (1 + 999 ** (1 / task.temperature)))
    first = task.temperature
    task.fit_temperature(meter)
    assert task.temperature == pytest.approx(first, rel=0.01), "what is fitted again stays"
    other = Task()
    other.load_calibration(task.calibration())
    assert other.temperature == task.temperature
