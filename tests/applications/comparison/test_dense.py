"""Segmenters and detectors of defects are compared image by image, with a test that keeps its level."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from applications.comparison.defects import Auroc
from applications.comparison.dense import refuse_other
from applications.comparison.masks import OfMasks
from applications.comparison.paired_images import ImageCounts, compare_images, exchange_test
from tests.applications.conftest import Call, DenseRuns
from utils.errors import UserError


def detector(scores: np.ndarray, bad: np.ndarray) -> ImageCounts:
    ranks = scores.argsort().argsort().astype(float)[:, None]
    images = tuple(map(str, range(len(bad))))
    return ImageCounts("one", "one", ("good", "defect"), images, tuple(bad.tolist()), ranks, Auroc(bad))


def test_equal_detectors_are_called_different_as_often_as_the_level_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("applications.comparison.paired_images.EXCHANGES", 99)
    rng, bad = np.random.default_rng(0), np.arange(40) < 20
    found = []
    for seed in range(60):
        shared = rng.normal(bad * 1.0, 1)
        first, other = (detector(shared + rng.normal(0, 0.7, 40), bad) for _ in range(2))
        found.append(exchange_test(first, other, None, seed=seed))
    assert np.mean(np.array(found) < 0.05) < 0.15
    assert 0.3 < np.mean(found) < 0.7


def test_a_detector_that_is_better_is_found_to_be() -> None:
    rng, bad = np.random.default_rng(0), np.arange(80) < 40
    first, other = detector(rng.normal(bad * 0.5, 1), bad), detector(rng.normal(bad * 4.0, 1), bad)
    (pair,) = compare_images([first, other], seed=0)
    assert pair.verdict() == "better"
    change = pair.differences["AUROC"]
    assert 0 < change.low < change.value < change.high
    assert change.value == pytest.approx(other.measured()["AUROC"] - first.measured()["AUROC"])


def test_groups_are_exchanged_as_wholes() -> None:
    counts = np.zeros((6, 7, 2))
    counts[:, 1] = 50
    counts[:, 0] = counts[:, 2] = 25
    better = counts.copy()
    better[:, 0] = 45
    first, other = (
        ImageCounts("m", "m", ("a", "b"), tuple("abcdef"), tuple("abcdef"), rows.reshape(6, -1), OfMasks(2)) for rows in (counts, better)
    )
    alone = exchange_test(first, other, None, seed=0)
    one_video = exchange_test(first, other, np.zeros(6, np.int64), seed=0)
    assert alone < 0.1
    assert one_video == 1.0, "one group can only be exchanged as a whole"


def test_models_of_other_images_truths_or_classes_are_refused() -> None:
    first = detector(np.arange(4.0), np.array([False, False, True, True]))
    for other, said in (
        (replace(first, images=("0", "1", "2", "9")), "2 are in only one of them, such as 3"),
        (replace(first, truth=(False, True, True, True)), "different truths, such as that of 1"),
        (replace(first, classes=("good", "bad")), "different classes"),
    ):
        with pytest.raises(UserError, match=said):
            refuse_other(first, other)


def test_runs_are_compared_and_tasks_are_not_mixed(call: Call, dense_runs: DenseRuns) -> None:
    for run, name in ((dense_runs.segmenter, "mIoU"), (dense_runs.detector, "AUROC")):
        outcome = call("--compare", run, run / "best.pt", "--workers", 0, "--name", name)
        assert outcome.code == 0, outcome.err
        content = json.loads(Path("runs/compare", name, "compare.json").read_text())
        (pair,) = content["comparisons"].values()
        assert (pair["verdict"], pair["p"]) == ("no significant difference", 1.0)
        assert next(iter(pair["differences"])) == name
        assert pair["differences"][name] == {"value": 0.0, "low": 0.0, "high": 0.0}
    mixed = call("--compare", dense_runs.segmenter, dense_runs.detector)
    assert (mixed.code, mixed.err.count("\n")) == (2, 1), mixed.err
    assert "models of one task" in mixed.err
