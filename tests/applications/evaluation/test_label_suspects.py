"""Doubtful labels are found in parts, and are those that cleanlab finds in the whole table."""

import warnings

import numpy as np
import pytest

from applications.report.label_issues import suspicious_label_sets, suspicious_labels


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
