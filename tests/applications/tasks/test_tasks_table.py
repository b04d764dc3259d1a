"""Contracts that every row of TASKS keeps whose images have labels."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from applications.tasks import TASKS
from applications.tasks.label_answers import decide
from applications.tasks.label_meter import LabelMeter
from applications.tasks.label_task import LabelTask
from criterions.elementwise import bce
from criterions.weighted import Criterion
from dataloader.images.preprocess import Preprocess
from dataloader.sample import Batch
from utils.checkpoint import load_tensors

CLASSES = ("a", "b", "c")


class Mean(nn.Module):
    """Logits are the mean color, so answers can be checked by eye; (N, 3, H, W) -> (N, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) * self.scale


def build(name: str) -> LabelTask:
    return TASKS.resolve(name)(CLASSES, Criterion(bce()), Preprocess(image_size=(4, 4)), torch.device("cpu"))


def batch(dense: bool, count: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 4, 4), dtype=torch.uint8, generator=generator)
    targets = torch.arange(count) % 3
    ones = nn.functional.one_hot(targets, 3).float()
    return Batch(images, ones if dense else targets, torch.ones(count), torch.arange(count))


@pytest.fixture(params=[name for name in TASKS if issubclass(TASKS.resolve(name), LabelTask)])
def task(request: pytest.FixtureRequest) -> LabelTask:
    return build(request.param)


def measure(task: LabelTask) -> LabelMeter:
    given, meter = batch(dense=task.chosen.multi_label), task.meter(6)
    with torch.no_grad():
        meter.update(given, task.forward(Mean(), given))
    return meter


@pytest.mark.parametrize("dense", [False, True])
def test_a_step_gives_a_loss_with_gradient_and_sums_without(task: LabelTask, dense: bool) -> None:
    model = Mean()
    result = task.training_step(model, batch(dense))
    assert result.loss.shape == ()
    result.loss.backward()
    assert model.scale.grad is not None
    assert set(result.sums) > {"loss"}
    for value in result.sums.values():
        assert value.shape == ()
        assert not value.requires_grad
    assert float(result.sums["loss"]) == pytest.approx(6 * float(result.loss.detach()))


def test_sample_weights_reach_the_loss(task: LabelTask) -> None:
    def loss(given: Batch) -> float:
        return task.training_step(Mean(), given).loss.item()

    given = batch(dense=True)
    half = replace(given, weights=torch.tensor([1.0, 1, 1, 0, 0, 0]))
    first = replace(given, images=given.images[:3], targets=given.targets[:3], weights=given.weights[:3], indices=given.indices[:3])
    assert loss(half) == pytest.approx(loss(first) / 2)
    assert loss(replace(given, weights=given.weights * 2)) == pytest.approx(2 * loss(given))


def test_figures_hold_the_headline_and_the_plain_loss(task: LabelTask) -> None:
    meter = measure(task)
    prediction = meter.prediction
    assert (prediction.probabilities.shape, prediction.losses.shape) == ((6, 3), (6,))
    figures = meter.figures()
    assert tuple(figures) == task.metric_names
    assert {task.headline, "loss"} <= set(figures)
    assert figures["loss"] == pytest.approx(float(prediction.losses.mean()))
    assert all(0 <= value <= 1 for name, value in figures.items() if name != "loss")


def test_what_is_rendered_exists_and_the_table_has_a_row_a_class(task: LabelTask, tmp_path: Path) -> None:
    meter = measure(task)
    files = task.render(meter, [f"{number}.png" for number in range(6)], tmp_path)
    assert {file.name for file in files} == {file.name for file in tmp_path.iterdir()} >= {"predictions.csv", "classes.csv"}
    table = task.table(meter)
    assert [row[0] for row in table[1:]] == list(CLASSES)
    assert len({len(row) for row in table}) == 1


def test_thresholds_are_plain_numbers_that_calibrating_keeps_plain(task: LabelTask, tmp_path: Path) -> None:
    before = task.chosen.thresholds
    task.calibrate(measure(task))
    assert (task.chosen.thresholds is None) == (before is None)
    torch.save(task.calibration(), tmp_path / "file.pt")
    saved, other = load_tensors(tmp_path / "file.pt"), build(task.name)
    other.load_calibration(saved)
    assert other.chosen == task.chosen


def test_without_thresholds_the_most_probable_class_is_named() -> None:
    probabilities = torch.tensor([[0.2, 0.5, 0.3], [0.4, 0.1, 0.4]])
    assert decide(probabilities, None).tolist() == [[False, True, False], [True, False, False]]


def test_with_thresholds_every_class_that_reaches_its_own_is_named() -> None:
    probabilities = torch.tensor([[0.2, 0.5, 0.3], [0.9, 0.1, 0.8]])
    assert decide(probabilities, (0.3, 0.6, 0.2)).tolist() == [[False, False, True], [True, False, True]]
    exact = tuple(probabilities[0].tolist())
    assert decide(probabilities, exact)[0].tolist() == [True, True, True], "a threshold that is a probability is reached by it"
