"""Whether a written file answers the boxes of its model: the same class, the same place, the same score."""

from typing import NamedTuple

import numpy as np
import torch

from applications.export.parity import Allowed, Parity
from applications.export.probe import Answers
from applications.tasks.box_answers import BoxAnswer, Choice, answer_of, placed
from applications.tasks.box_meter import BoxRows
from applications.tasks.detect import Detect
from dataloader.images.preprocess import Preprocess
from dataloader.splits.split import Split
from utils.metrics.box_overlap import overlap_of

ALLOWED_BOXES = Allowed(1e-3, 0.999)
# Overlap of two boxes that are the same, and how much rounding may change the overlap of two others.
SAME, NEAR = 0.99, 0.01


def compare_boxes(answers: Answers, said: np.ndarray, task: Detect, split: Split, preprocess: Preprocess, allowed: Allowed) -> Parity:
    """Compare the boxes of a file with those of its model, at the size of the network.

    Args:
        answers: of the file: corners and scores of every place, (N, A, 4 + C), or chosen boxes (N, K, 6).
        said: corners and scores of every place by the model, (N, A, 4 + C).
        task: which boxes are answered.
        split: the images.
        preprocess: of the model.
        allowed: how much a score may differ.
    """
    inside = answers.facts.chooses_boxes
    choice = task.answered if inside else task.measured
    expected = [_answer(each, choice) for each in said]
    single, batched = ([_chosen(each) if inside else _answer(each, choice) for each in part] for part in (answers.single, answers.batched))
    alone, together = (
        [compare_image(ours, theirs, raw, choice, allowed.difference) for ours, theirs, raw in zip(expected, part, said, strict=True)]
        for part in (single, batched)
    )
    largest, group = (max([0.0, *(each.largest for each in part)]) for part in (alone, together))
    if not inside:
        largest, group = (_largest(part[..., 4:], said[..., 4:]) for part in (answers.single, answers.batched))
    # A box agrees where it does both alone and among other images.
    wrong = [max(first.wrong, second.wrong) for first, second in zip(alone, together, strict=True)]
    total = [max(first.total, second.total) for first, second in zip(alone, together, strict=True)]
    return Parity(
        images=len(expected),
        agreeing=sum(total) - sum(wrong),
        largest=largest,
        mean=float(np.mean([each.largest for each in alone])),
        batched=group,
        headline="AP",
        model=_ap(expected, task, split, preprocess),
        file=_ap(single, task, split, preprocess),
        worst=int(np.argmax(wrong)),
        answers=sum(total),
        answered="boxes",
    )


class ImageParity(NamedTuple):
    """The boxes of an image by a model and its file: how many there are in either, how many do not agree, how far scores are apart."""

    total: int
    wrong: int
    largest: float


def compare_image(ours: BoxAnswer, theirs: BoxAnswer, raw: np.ndarray, choice: Choice, close: float) -> ImageParity:
    """Compare the boxes of an image.

    A box that one alone answers agrees where rounding explains it: its score lies at the least score, or below those of as many others as
    are answered, or the other answers one that is as sure and drops it.

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
    wrong = int((apart > close).sum()) + int((~_explained(ours.rows(only_ours), theirs, choice, close)).sum())
    extra = theirs.rows(only_theirs)
    wrong += int((~(_explained(extra, ours, choice, close) & _is_said(extra, raw, close))).sum())
    return ImageParity(len(first) + len(only_ours) + len(only_theirs), wrong, float(apart.max(initial=0.0)))


def _explained(boxes: BoxAnswer, others: BoxAnswer, choice: Choice, close: float) -> np.ndarray:
    """Return whether rounding explains that each box is not among the others, bool (K,)."""
    overlap = overlap_of(boxes.corners[:, None], others.corners[None], np.zeros((1, 1), bool))
    drops = (overlap >= choice.overlap - NEAR) & (others.scores[None] >= boxes.scores[:, None] - close)
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


def pair_boxes(ours: BoxAnswer, theirs: BoxAnswer) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of two answers that are the same box of the same class, each in one pair: int64 (P,) each."""
    overlap = overlap_of(ours.corners[:, None], theirs.corners[None], np.zeros((1, 1), bool))
    overlap[ours.classes[:, None] != theirs.classes[None]] = 0
    free, pairs = np.ones(len(theirs.scores), bool), []
    for row in range(len(ours.scores)):
        worth = np.where(free & (overlap[row] >= SAME), -np.abs(theirs.scores - ours.scores[row]), -np.inf)
        if len(worth) and worth.max() > -np.inf:
            free[worth.argmax()] = False
            pairs.append((row, int(worth.argmax())))
    found = np.array(pairs, np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _answer(said: np.ndarray, choice: Choice) -> BoxAnswer:
    """Return the boxes that are chosen of corners and scores (A, 4 + C)."""
    told = torch.from_numpy(said)
    return answer_of(torch.cat([told[:, :4], torch.ones(len(told), 1), told[:, 4:]], 1), choice)


def _chosen(rows: np.ndarray) -> BoxAnswer:
    """Return the boxes that a file has chosen, (K, 6) with zeros behind them."""
    rows = rows[~(rows[:, 4] <= 0)]
    return BoxAnswer(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64))


def _largest(part: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(part - wanted).max()) if part.shape == wanted.shape else float("nan")


def _ap(found: list[BoxAnswer], task: Detect, split: Split, preprocess: Preprocess) -> float:
    meter = BoxRows(task.classes, task.measured, split.target, preprocess)
    for index, answer in enumerate(found):
        boxes = split.target(index)
        size = boxes.image_size()
        assert size is not None
        meter.compare(index, placed(answer, preprocess.change(size).undone(size)), boxes)
    return meter.figures()["AP"]
