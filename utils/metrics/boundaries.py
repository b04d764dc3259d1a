"""How well the outlines of regions agree: Csurka et al.: What is a Good Evaluation Measure for Semantic Segmentation? (BMVC 2013)."""

from typing import NamedTuple

import numpy as np

# Share of the image's diagonal that an outline may be off.
TOLERANCE = 0.0075


class BoundaryPixels(NamedTuple):
    """Pixels on the outlines of every class, counts (C,) or sums of them.

    Attributes:
        near_real: of the answer, near an outline of the truth.
        said: of the answer.
        near_said: of the truth, near an outline of the answer.
        real: of the truth.
    """

    near_real: np.ndarray
    said: np.ndarray
    near_said: np.ndarray
    real: np.ndarray

    def f1(self) -> np.ndarray:
        """Return the harmonic mean of precision and recall of every class, (C,); nan where the truth has no outline of it."""
        precision = self.near_real / np.maximum(self.said, 1)
        recall = self.near_said / np.maximum(self.real, 1)
        return np.where(self.real > 0, 2 * precision * recall / np.maximum(precision + recall, 1e-12), np.nan)


def tolerance_of(size: tuple[int, int]) -> float:
    """Return how many pixels an outline may be off in an image of (H, W) `size`, at least 1."""
    return max(1.0, float(round(TOLERANCE * float(np.hypot(*size)))))


def outline(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return where a pixel has a neighbor of another class, bool (H, W); the border of the image and unknown pixels are no neighbors.

    Args:
        ids: classes, integers (H, W).
        known: bool (H, W), pixels that count.
    """
    edge = np.zeros(ids.shape, bool)
    for first, second in ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])):
        differs = (ids[first] != ids[second]) & known[first] & known[second]
        edge[first] |= differs
        edge[second] |= differs
    return edge


def boundary_pixels(truth: np.ndarray, answer: np.ndarray, known: np.ndarray, classes: int) -> BoundaryPixels:
    """Return the pixels on the outlines of two masks, and how many of them are near one of the other, within `tolerance_of` the image.

    Args:
        truth, answer: classes, integers (H, W).
        known: bool (H, W), pixels that count.
        classes: how many there are.
    """
    import cv2

    tolerance = tolerance_of((truth.shape[0], truth.shape[1]))
    real, said = (np.where(outline(ids, known), ids, classes).astype(np.int64) for ids in (truth, answer))
    counts = np.zeros((4, classes), np.int64)
    counts[1], counts[3] = (np.bincount(each.ravel(), minlength=classes + 1)[:classes] for each in (said, real))
    for number in np.flatnonzero((counts[1] > 0) & (counts[3] > 0)).tolist():
        ours, theirs = said == number, real == number
        for place, some, others in ((0, ours, theirs), (2, theirs, ours)):
            distance = cv2.distanceTransform((~others).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            counts[place, number] = int((distance[some] <= tolerance + 1e-4).sum())
    return BoundaryPixels(*counts)
