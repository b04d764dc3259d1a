"""Which answered box finds which true box, as COCO's evaluation decides it, for all images and classes at once.

Lin et al.: Microsoft COCO: Common Objects in Context (arXiv 1405.0312); the rules are those of its program, pycocotools: answers by falling
score, each takes the free truth of its class that it overlaps most; a truth that does not count is taken only where no other is left.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from utils.metrics.box_overlap import overlapping_pairs

# Overlaps from which on an answer finds a truth, and areas in pixels between which truths count.
THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
# Answers of an image and a class that are looked at.
MOST = 100


@dataclass(frozen=True)
class TrueBoxes:
    """The true boxes of many images.

    Attributes:
        images: position of the image of each, int64 (M,).
        classes: int64 (M,).
        corners: left, top, right, bottom, (M, 4).
        crowd: whether each counts neither as found nor as missed, bool (M,).
        areas: of the objects in pixels, (M,).
    """

    images: np.ndarray
    classes: np.ndarray
    corners: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray

    def rows(self, chosen: np.ndarray) -> "TrueBoxes":
        """Return some of them, by rows or by a mask."""
        return TrueBoxes(*(each[chosen] for each in (self.images, self.classes, self.corners, self.crowd, self.areas)))


@dataclass(frozen=True)
class AnsweredBoxes:
    """The boxes that a model answers for many images.

    Attributes:
        images: position of the image of each, int64 (N,).
        classes: int64 (N,).
        corners: left, top, right, bottom, (N, 4).
        scores: (N,).
    """

    images: np.ndarray
    classes: np.ndarray
    corners: np.ndarray
    scores: np.ndarray

    def rows(self, chosen: np.ndarray) -> "AnsweredBoxes":
        """Return some of them, by rows or by a mask."""
        return AnsweredBoxes(*(each[chosen] for each in (self.images, self.classes, self.corners, self.scores)))


class Matches(NamedTuple):
    """What each answer finds, at every range of areas (A) and overlap (T).

    Attributes:
        answers: those that were looked at, by class, image and falling score: N.
        ranks: place of each among the answers of its image and class, from 0, int64 (N,).
        hits: whether it finds a truth that counts, bool (A, T, N).
        ignored: whether it counts as nothing, bool (A, T, N).
        found: row of the truth that it finds among all areas, -1 for none, int64 (T, N).
        truths: by class and image, in the order of each image: M.
        uncounted: whether a truth counts for nothing, bool (A, M).
    """

    answers: AnsweredBoxes
    ranks: np.ndarray
    hits: np.ndarray
    ignored: np.ndarray
    found: np.ndarray
    truths: TrueBoxes
    uncounted: np.ndarray


def match_boxes(truths: TrueBoxes, answers: AnsweredBoxes, thresholds: np.ndarray = THRESHOLDS, most: int = MOST) -> Matches:
    """Return what answers find.

    Args:
        truths: of all images.
        answers: of all images; those of equal score count in their order.
        thresholds: overlaps (T,), ascending.
        most: answers of an image and a class that are looked at.
    """
    truths = truths.rows(np.lexsort((np.arange(len(truths.images)), truths.images, truths.classes)))
    answers, groups, true_groups, ranks = _grouped(truths, answers, most)
    limits = np.array(list(AREAS.values()))
    uncounted = truths.crowd | _outside(truths.areas, limits)
    # COCO takes a hair from the threshold of 1, which rounding could miss.
    least = np.minimum(thresholds, 1 - 1e-10)
    found = _assign(truths, answers, groups, true_groups, uncounted, least)
    matched = found >= 0
    corners = answers.corners.astype(np.float64)
    sizes = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    ignored = np.broadcast_to(_outside(sizes, limits)[:, None], matched.shape) & ~matched
    for area in range(len(limits)):
        chosen = matched[area]
        ignored[area][chosen] = uncounted[area][found[area][chosen]]
    return Matches(answers, ranks, matched & ~ignored, ignored, found[0].astype(np.int64), truths, uncounted)


def _outside(areas: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return whether areas (N,) lie outside of limits (A, 2): bool (A, N)."""
    return (areas < limits[:, :1]) | (areas > limits[:, 1:])


def _grouped(truths: TrueBoxes, answers: AnsweredBoxes, most: int) -> tuple[AnsweredBoxes, np.ndarray, np.ndarray, np.ndarray]:
    """Return the answers by class, image and score, the group of each, the group of each truth, and the place in its group."""
    order = np.lexsort((np.arange(len(answers.images)), -answers.scores, answers.images, answers.classes))
    answers = answers.rows(order)
    images = int(max(truths.images.max(initial=-1), answers.images.max(initial=-1))) + 1
    groups, true_groups = answers.classes * images + answers.images, truths.classes * images + truths.images
    ranks = np.arange(len(groups)) - np.searchsorted(groups, groups, side="left")
    kept = ranks < most
    return answers.rows(kept), groups[kept], true_groups, ranks[kept]


def _assign(
    truths: TrueBoxes, answers: AnsweredBoxes, groups: np.ndarray, true_groups: np.ndarray, uncounted: np.ndarray, least: np.ndarray
) -> np.ndarray:
    """Return the row of the truth that each answer finds, -1 for none: int32 (A, T, N)."""
    areas, count, total = len(uncounted), len(least), len(answers.scores)
    found = np.full((total, areas, count), -1, np.int32)
    rows, columns, overlaps = overlapping_pairs(answers.corners, groups, truths.corners, true_groups, truths.crowd, float(least[0]))
    # By answer, the best truth last; of equal ones the last truth is the best.
    order = np.lexsort((columns, overlaps, rows))
    rows, columns, overlaps = rows[order], columns[order], overlaps[order]
    candidates, first, sizes = np.unique(rows, return_index=True, return_counts=True)
    own = groups[candidates]
    # Place among the answers of the group that overlap anything: all answers of one place are decided together.
    turns = np.arange(len(own)) - np.searchsorted(own, own, side="left")
    taken = np.zeros((len(truths.classes), areas, count), dtype=bool)
    counted, big = ~uncounted.T[:, :, None], int(sizes.max(initial=0)) + 1
    for members in _by_number(turns):
        starts = sizes[members].cumsum() - sizes[members]
        places = np.arange(int(sizes[members].sum())) - np.repeat(starts, sizes[members])
        pairs = places + np.repeat(first[members], sizes[members])
        truth = columns[pairs]
        free = ~taken[truth] | truths.crowd[truth][:, None, None]
        free &= overlaps[pairs][:, None, None] >= least
        worth = np.where(free, (places + 1)[:, None, None] + big * counted[truth], 0)
        best = np.maximum.reduceat(worth, starts, axis=0)
        chosen = columns[first[members][:, None, None] + np.maximum(best % big - 1, 0)]
        has = best > 0
        found[candidates[members]] = np.where(has, chosen, -1)
        _, area, threshold = np.nonzero(has)
        taken[chosen[has], area, threshold] = True
    return np.ascontiguousarray(found.transpose(1, 2, 0))


def _by_number(numbers: np.ndarray) -> list[np.ndarray]:
    """Return the places of 0, of 1, and so on, in numbers (N,)."""
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.bincount(numbers).cumsum()[:-1]) if len(numbers) else []
