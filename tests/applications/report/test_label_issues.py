"""Labels that may be wrong are found, in parts as in the whole table."""

import warnings

import numpy as np
import pytest

from applications.report.label_issues import suspicious_label_sets, suspicious_labels


def test_wrong_labels_are_suspected() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 200)
    shares = np.full((200, 4), 0.04)
    shares[np.arange(200), truth] = 0.88
    given = truth.copy()
    given[[5, 50, 120]] = (given[[5, 50, 120]] + 1) % 3
    assert set(suspicious_labels(given, shares)) == {5, 50, 120}
    labels = rng.random((200, 3)) < 0.4
    answers = np.where(labels, 0.9, 0.1)
    wrong = labels.copy()
    wrong[7, 1] ^= True
    assert suspicious_label_sets(wrong, answers).tolist() == [7]


@pytest.mark.parametrize("truth", [[[1, 0], [1, 1], [1, 0]], [[0, 0]] * 3, [[1, 0], [0, 0], [0, 0]]], ids=["always", "never", "once"])
def test_labels_that_nothing_can_be_said_of_are_not_doubted(truth: list[list[int]]) -> None:
    assert suspicious_label_sets(np.array(truth, dtype=bool), np.full((3, 2), 0.5)).tolist() == []


def answers(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and probabilities of a random number of images and classes, some of which may have no image."""
    rng = np.random.default_rng(seed)
    count, classes = int(rng.integers(20, 900)), int(rng.integers(2, 40))
    falling = 1 / np.arange(1, classes + 1)
    targets = rng.choice(classes, count, p=falling / falling.sum()) if seed % 2 else rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes)).astype(np.float32)
    said = np.where(rng.random(count) < 0.8, targets, rng.integers(0, classes, count))
    logits[np.arange(count), said] += rng.uniform(0, 6, count)
    powers = np.exp(logits)
    return targets, powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize("seed", range(8))
def test_parts_of_the_classes_give_what_cleanlab_finds_in_all(seed: int) -> None:
    from cleanlab.filter import find_label_issues

    targets, probabilities = answers(seed)
    present = np.unique(targets)
    shares = probabilities[:, present].astype(np.float64) + 1e-12
    shares /= shares.sum(1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = find_label_issues(np.searchsorted(present, targets), shares, return_indices_ranked_by="self_confidence", n_jobs=1)
    assert len(expected)
    for cells in (1, 40 * len(present), 10**9):
        assert suspicious_labels(targets, probabilities, cells=cells).tolist() == expected.tolist()
