"""How much boxes overlap: intersection over union, in float64 and in the arithmetic of COCO's own program."""

from typing import NamedTuple

import numpy as np

# Pairs whose overlap is computed at once.
CHUNK = 2_000_000


class Pairs(NamedTuple):
    """Pairs of an answer and a truth, by answer.

    Attributes:
        answers, truths: rows of the two, int64 (P,).
        overlaps: float64 (P,).
    """

    answers: np.ndarray
    truths: np.ndarray
    overlaps: np.ndarray


def overlap_of(boxes: np.ndarray, truths: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Return the overlap of boxes with truths that broadcast to them, (..., 4) of left, top, right, bottom: float64 (...).

    It is the intersection over the union; over the area of the box where the truth is a crowd, any part of which may be framed.
    """
    boxes, truths = boxes.astype(np.float64), truths.astype(np.float64)
    sides, true_sides = boxes[..., 2:] - boxes[..., :2], truths[..., 2:] - truths[..., :2]
    # Ends are made of start and length again: so ties of overlaps and thresholds fall as they do in COCO's program.
    ends = np.minimum(boxes[..., :2] + sides, truths[..., :2] + true_sides)
    shared = ends - np.maximum(boxes[..., :2], truths[..., :2])
    area, true_area = sides[..., 0] * sides[..., 1], true_sides[..., 0] * true_sides[..., 1]
    inside = np.where((shared > 0).all(-1), shared[..., 0] * shared[..., 1], 0.0)
    whole = np.where(crowd, area, area + true_area - inside)
    return np.divide(inside, whole, out=np.zeros_like(inside), where=inside > 0)


def overlapping_pairs(
    boxes: np.ndarray, groups: np.ndarray, truths: np.ndarray, true_groups: np.ndarray, crowd: np.ndarray, least: float
) -> Pairs:
    """Return the pairs of one group whose overlap is `least` or more, by answer and then by truth.

    Args:
        boxes: (N, 4).
        groups: number of the group of each, such as of its image, int64 (N,), in any order.
        truths: (M, 4).
        true_groups: int64 (M,), ascending.
        crowd: whether each truth is a crowd, bool (M,).
        least: above 0.
    """
    first = np.searchsorted(true_groups, groups, side="left")
    counts = np.searchsorted(true_groups, groups, side="right") - first
    ends = counts.cumsum()
    found: list[Pairs] = []
    start = 0
    while start < len(boxes):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + CHUNK, side="right")))
        own = counts[start:stop]
        rows = np.repeat(np.arange(start, stop), own)
        columns = np.arange(len(rows)) - np.repeat(own.cumsum() - own, own) + np.repeat(first[start:stop], own)
        overlaps = overlap_of(boxes[rows], truths[columns], crowd[columns])
        kept = overlaps >= least
        found.append(Pairs(rows[kept], columns[kept], overlaps[kept]))
        start = stop
    if not found:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    return Pairs(*(np.concatenate(part) for part in zip(*found, strict=True)))
