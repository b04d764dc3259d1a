"""The multi-label figures against a few lines of NumPy, and thresholds against brute force."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from applications.tasks.label_meter import LabelMeter
from applications.tasks.label_prediction import Prediction
from applications.tasks.multilabel import Multilabel, average_precisions, best_threshold, best_thresholds
from criterions.elementwise import bce, softmax
from criterions.weighted import Criterion
from dataloader.images.preprocess import Preprocess
from tests.applications.predicted import predicted
from utils.errors import UserError
from utils.metrics.calibration import Calibration

CPU = torch.device("cpu")


def build(classes: int = 3) -> Multilabel:
    return Multilabel([f"label{number}" for number in range(classes)], Criterion(bce()), Preprocess(image_size=(4, 4)), CPU)


def make(truth: np.ndarray, probabilities: np.ndarray) -> Prediction:
    answers = torch.from_numpy(probabilities.astype(np.float32))
    return predicted(torch.from_numpy(truth.astype(bool)), answers, torch.ones(len(truth)))


@st.composite
def answers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, classes = draw(st.integers(1, 30)), draw(st.integers(1, 4))
    probabilities = rng.random((count, classes)).astype(np.float32)
    if draw(st.booleans()):
        probabilities = probabilities.round(1)  # many equal ones
    return rng.random((count, classes)) < draw(st.sampled_from([0.1, 0.5, 0.9])), probabilities


def f1_of(truth: np.ndarray, found: np.ndarray) -> float:
    return 2 * (truth & found).sum() / max(1, truth.sum() + found.sum())


def step_area(truth: np.ndarray, scores: np.ndarray) -> float:
    """Average precision from its definition: precision at every distinct score, weighed by the recall it adds."""
    area, reached = 0.0, 0
    for cut in sorted(set(scores.tolist()), reverse=True):
        hits = (truth & (scores >= cut)).sum()
        area += (hits - reached) / truth.sum() * hits / (scores >= cut).sum()
        reached = hits
    return area


@given(answers())
@settings(max_examples=80, deadline=None)
def test_the_figures_are_those_of_a_few_lines(given_answers: tuple[np.ndarray, np.ndarray]) -> None:
    truth, probabilities = given_answers
    task = build(truth.shape[1])
    thresholds = tuple(np.linspace(0.3, 0.7, truth.shape[1]).astype(np.float32).tolist())
    task.chosen = Calibration(thresholds=thresholds)
    found = probabilities >= np.array(thresholds)
    figures = task.metrics(make(truth, probabilities))
    occurring = [column for column in range(truth.shape[1]) if truth[:, column].any()]
    areas = [step_area(truth[:, column], probabilities[:, column]) for column in occurring]
    assert figures["mAP"] == pytest.approx(np.mean(areas) if areas else 0)
    assert figures["macro_f1"] == pytest.approx(np.mean([f1_of(truth[:, c], found[:, c]) for c in occurring]) if occurring else 0)
    assert figures["micro_f1"] == pytest.approx(f1_of(truth, found))
    assert figures["exact"] == pytest.approx((truth == found).all(1).mean())
    assert figures["loss"] == 1


@given(answers())
@settings(max_examples=150, deadline=None)
def test_no_other_threshold_has_a_larger_f1(given_answers: tuple[np.ndarray, np.ndarray]) -> None:
    truth, probabilities = given_answers
    for label, scores, threshold in zip(truth.T, probabilities.T, best_thresholds(truth, probabilities), strict=True):
        if not label.any():
            assert threshold == 0.5
            continue
        assert threshold == np.float32(threshold)
        tried = [f1_of(label, scores >= cut) for cut in [0.0, *scores, 2.0]]
        assert f1_of(label, scores >= threshold) == pytest.approx(max(tried))


def test_a_threshold_lies_between_probabilities_and_the_nearest_to_one_half_wins() -> None:
    truth = np.array([True, True, False, False])
    assert best_threshold(truth, np.array([0.9, 0.75, 0.25, 0.1], dtype=np.float32)) == 0.5
    assert best_threshold(truth, np.array([0.9, 0.9, 0.7, 0.1], dtype=np.float32)) == pytest.approx(0.8)
    # Naming the first alone or all four gives the same F1 of 2/3.
    truth = np.array([True, False, False, True])
    assert best_threshold(truth, np.array([0.9, 0.1, 0.05, 0.04], dtype=np.float32)) == pytest.approx(0.5)
    assert best_threshold(truth, np.array([0.99, 0.98, 0.97, 0.9], dtype=np.float32)) == pytest.approx(0.45)


def test_neighbors_in_float32_are_told_apart() -> None:
    low = np.float32(0.3)
    high = np.nextafter(low, np.float32(1))
    scores = np.array([high, low], dtype=np.float32)
    threshold = best_threshold(np.array([True, False]), scores)
    assert (scores >= threshold).tolist() == [True, False]


def test_a_label_without_images_has_no_average_precision() -> None:
    areas = average_precisions(np.array([[True, False], [False, False]]), np.array([[0.9, 0.3], [0.1, 0.2]]))
    assert areas[0] == 1
    assert np.isnan(areas[1])


def test_the_written_tables_agree_with_the_figures(tmp_path: Path) -> None:
    truth = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=bool)
    probabilities = np.array([[0.9, 0.2, 0.1], [0.6, 0.7, 0.1], [0.4, 0.8, 0.1], [0.1, 0.1, 0.6]])
    task = build()
    files = {file.name: file for file in task.render(LabelMeter.holding(task, make(truth, probabilities)), ["w", "x", "y", "z"], tmp_path)}
    rows = {name: list(csv.reader(file.read_text().splitlines())) for name, file in files.items() if name.endswith(".csv")}
    assert [row[:3] for row in rows["predictions.csv"]] == [
        ["path", "true", "predicted"],
        ["w", "label0;label1", "label0"],
        ["x", "label0", "label0;label1"],
        ["y", "label1", "label1"],
        ["z", "", "label2"],
    ]
    assert rows["classes.csv"][1:] == [
        ["label0", "1.0000", "1.0000", "1.0000", "1.0000", "0.5000", "2"],
        ["label1", "0.8333", "0.5000", "0.5000", "0.5000", "0.5000", "2"],
        ["label2", "", "0.0000", "0.0000", "0.0000", "0.5000", "0"],
    ]
    assert rows["labels.csv"][1:] == [["label0", "2", "0", "0", "2"], ["label1", "1", "1", "1", "1"], ["label2", "0", "1", "0", "3"]]
    with Image.open(files["average_precision.png"]) as picture:
        assert min(picture.size) > 100


def test_a_softmax_loss_is_refused_with_the_remedy() -> None:
    with pytest.raises(UserError, match="several labels each: add --criterion bce"):
        Multilabel(["a"], Criterion(softmax()), Preprocess(image_size=(4, 4)), CPU)


def test_a_model_that_diverged_is_measured_as_one_that_names_nothing() -> None:
    from dataloader.sample import Batch

    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    batch = Batch(images, torch.tensor([[1.0], [0.0]]), torch.ones(2), torch.arange(2))
    task = build(1)
    meter = task.meter(2)
    meter.update(batch, torch.full((2, 1), torch.nan))
    assert meter.figures()["micro_f1"] == 0
