"""Whether two answers have the same boxes up to rounding: the same class, the same place, the same score."""

from typing import NamedTuple

import numpy as np

from applications.tasks.box_answers import BoxAnswer, Choice
from utils.metrics.box_overlap import overlap_of

# Overlap of two boxes that are the same, and how much rounding may change the overlap of two others.
SAME, NEAR = 0.99, 0.01


class ImageParity(NamedTuple):
    """The boxes of an image by a model and its file: how many there are in either, how many do not agree, how far scores are apart."""

    total: int
    wrong: int
    largest: float


def compare_image(ours: BoxAnswer, theirs: BoxAnswer, raw: np.ndarray, choice: Choice, close: float) -> ImageParity:
    """Compare the boxes of an image.

    A box that one alone answers agrees where rounding explains it: its score lies at the least score, or below those of as many others as
    are answered, or the other answers one that is as sure and drops it: one that is not answered here, or overlaps it as much as just
    drops it.

    Args:
        ours: of the model.
        theirs: of the file.
        raw: corners and scores of every place by the model, (A, 4 + C).
        choice: how both were chosen.
        close: how much a score may differ.
    """
    first, second = pair_boxes(ours, theirs)
    apart = np.abs(ours.scores[first] - theirs.scores[second])
    only_ours, only_theirs = (np.setdiff1d(np.arange(len(each.scores)), rows) for each, rows in ((ours, first), (theirs, second)))
    wrong = int((apart > close).sum()) + int((~_explained(ours.rows(only_ours), theirs, only_theirs, choice, close)).sum())
    extra = theirs.rows(only_theirs)
    wrong += int((~(_explained(extra, ours, only_ours, choice, close) & _is_said(extra, raw, close))).sum())
    return ImageParity(len(first) + len(only_ours) + len(only_theirs), wrong, float(apart.max(initial=0.0)))


def _explained(boxes: BoxAnswer, others: BoxAnswer, alone: np.ndarray, choice: Choice, close: float) -> np.ndarray:
    """Return whether rounding explains that each box is not among the others, of which some rows are there `alone`, bool (K,)."""
    overlap = overlap_of(boxes.corners[:, None], others.corners[None], np.zeros((1, 1), bool))
    drops = (overlap >= choice.overlap - NEAR) & (others.scores[None] >= boxes.scores[:, None] - close)
    drops &= (overlap <= choice.overlap + NEAR) | np.isin(np.arange(len(others.scores)), alone)[None]
    if not choice.agnostic:
        drops &= boxes.classes[:, None] == others.classes[None]
    full = len(others.scores) >= choice.most
    beyond = boxes.scores <= (others.scores.min() if full else -1.0) + close
    return drops.any(1) | (boxes.scores <= choice.confidence + close) | (beyond & full)


def _is_said(boxes: BoxAnswer, raw: np.ndarray, close: float) -> np.ndarray:
    """Return whether the model says each box at some place, bool (K,)."""
    found = np.zeros(len(boxes.scores), bool)
    for number, (corners, score, label) in enumerate(zip(*boxes, strict=True)):
        near = np.abs(raw[:, 4 + label] - score) <= close
        found[number] = bool((overlap_of(raw[near, :4], corners, np.zeros((), bool)) >= SAME).any())
    return found


def pair_boxes(ours: BoxAnswer, theirs: BoxAnswer, *, least: float = SAME) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of two answers that are the same box of the same class, each in one pair: int64 (P,) each.

    Args:
        ours, theirs: the answers.
        least: overlap of two boxes that are the same.
    """
    overlap = overlap_of(ours.corners[:, None], theirs.corners[None], np.zeros((1, 1), bool))
    overlap[ours.classes[:, None] != theirs.classes[None]] = 0
    free, pairs = np.ones(len(theirs.scores), bool), []
    for row in range(len(ours.scores)):
        worth = np.where(free & (overlap[row] >= least), -np.abs(theirs.scores - ours.scores[row]), -np.inf)
        if len(worth) and worth.max() > -np.inf:
            free[worth.argmax()] = False
            pairs.append((row, int(worth.argmax())))
    found = np.array(pairs, np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]
