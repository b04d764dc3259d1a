"""Anchors: the boxes that a place begins with, as published or by k-means of the boxes of the training data."""

import re

import numpy as np

from utils.errors import UserError

# Width and height in pixels, from the smallest; three each for the maps of strides 8, 16 and 32 (arXiv 1804.02767, section 2.3).
PUBLISHED: tuple[tuple[float, float], ...] = (
    *((10, 13), (16, 30), (33, 23)),
    *((30, 61), (62, 45), (59, 119)),
    *((116, 90), (156, 198), (373, 326)),
)
AUTO = "auto"
# Of k-means.
STARTS, MOST_STEPS = 5, 300
# More boxes than this tell nothing new of nine means.
MOST_BOXES = 20_000


def read_anchors(text: str | None) -> np.ndarray:
    """Return width and height (9, 2) of anchors from text such as '10x13 16x30 ...'; the published ones for None, and for 'auto' until
    the data is known.

    Raises:
        UserError: it is none of them.
    """
    if text is None or text == AUTO:
        return np.array(PUBLISHED, dtype=np.float64)
    numbers = [re.fullmatch(r"(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)", part) for part in text.replace(",", " ").split()]
    if len(numbers) != len(PUBLISHED) or None in numbers or any(float(side) <= 0 for each in numbers if each for side in each.groups()):
        raise UserError(f"--anchors {text}: write auto, or nine of WIDTHxHEIGHT in pixels, such as '10x13 16x30 ...'")
    return in_order(np.array([[float(side) for side in each.groups()] for each in numbers if each]))


def in_order(anchors: np.ndarray) -> np.ndarray:
    """Return anchors (k, 2) from the smallest area to the largest."""
    return anchors[np.argsort(anchors.prod(1), kind="stable")]


def shape_overlaps(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return the IoU (K, k) of boxes and anchors, width and height (K, 2) and (k, 2), with a common corner."""
    meet = np.minimum(sizes[:, None], anchors).prod(2)
    return meet / (sizes.prod(1)[:, None] + anchors.prod(1) - meet)


def fit(sizes: np.ndarray, anchors: np.ndarray) -> float:
    """Return the mean IoU of boxes (K, 2) with the anchor that is shaped most like each."""
    return float(shape_overlaps(sizes, anchors).max(1).mean())


def cluster(sizes: np.ndarray, count: int = len(PUBLISHED), *, seed: int = 0) -> np.ndarray:
    """Return `count` anchors by k-means with the distance 1 - IoU (arXiv 1612.08242, section 2), the smallest first, (count, 2).

    The best of several starts, each of which draws a box the more likely the less it is like those drawn before (k-means++).

    Args:
        sizes: width and height of boxes as the network sees them, (K, 2).
        count: how many.
        seed: of the starts.

    Raises:
        UserError: there are too few boxes.
    """
    sizes = sizes[(sizes > 0).all(1)].astype(np.float64)
    if len(np.unique(sizes, axis=0)) < count:
        raise UserError(
            f"--anchors auto: {count} anchors need as many boxes of different sizes, and the data has {len(sizes)}; leave it out"
        )
    generator = np.random.default_rng(seed)
    if len(sizes) > MOST_BOXES:
        sizes = sizes[generator.choice(len(sizes), MOST_BOXES, replace=False)]
    tried = [_means(sizes, _first(sizes, count, generator)) for _ in range(STARTS)]
    return in_order(max(tried, key=lambda anchors: fit(sizes, anchors)))


def _first(sizes: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    chosen = [sizes[generator.integers(len(sizes))]]
    while len(chosen) < count:
        away = 1 - shape_overlaps(sizes, np.stack(chosen)).max(1)
        chosen.append(sizes[generator.choice(len(sizes), p=away / away.sum())])
    return np.stack(chosen)


def _means(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return the means that k-means comes to from these; one that loses all its boxes stays where it is."""
    nearest = np.full(len(sizes), -1)
    for _ in range(MOST_STEPS):
        found = shape_overlaps(sizes, anchors).argmax(1)
        if (found == nearest).all():
            break
        nearest = found
        counts = np.bincount(nearest, minlength=len(anchors))
        sums = np.stack([np.bincount(nearest, side, minlength=len(anchors)) for side in sizes.T], axis=1)
        anchors = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], anchors)
    return anchors
