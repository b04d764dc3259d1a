"""Courses of a curriculum: images grouped by how probable a model holds their labels (Bengio et al.: Curriculum Learning, ICML 2009)."""

from collections.abc import Sequence

import numpy as np


def label_probabilities(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the probability (N,) of what is true.

    Args:
        probabilities: (N, C).
        targets: class indices (N,), or ones for all labels of an image, (N, C): then it is the mean, over all labels, of the
            probability that a label is there, or that it is not.
    """
    if targets.ndim == 1:
        return probabilities[np.arange(len(targets)), targets]
    return np.where(targets >= 0.5, probabilities, 1 - probabilities).mean(1)


def assign_courses(probabilities: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Return for every image, int64 (N,), the first threshold that its probability (N,) exceeds; len(thresholds) where it exceeds none."""
    exceeds = probabilities[:, None] > np.asarray(thresholds)[None, :]
    return np.where(exceeds.any(1), exceeds.argmax(1), len(thresholds))
