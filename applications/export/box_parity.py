"""Whether a written file answers the boxes of its model: the same class, the same place, the same score."""

import numpy as np
import torch

from applications.export.parity import Allowed, Parity
from applications.export.probe import Answers
from applications.tasks.box_answers import BoxAnswer, Choice, answer_of, placed
from applications.tasks.box_meter import BoxRows
from applications.tasks.detect import Detect
from dataloader.images.preprocess import Preprocess
from dataloader.splits.split import Split
from utils.box_overlap import overlap_of

# Boxes whose score is as close to the least score, or whose overlap to --nms, as rounding goes may be answered by one and not by the other.
ALLOWED_BOXES = Allowed(1e-3, 0.995)
# Overlap of two boxes that are the same.
SAME = 0.99


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
    alone, together = ([_differences(ours, theirs) for ours, theirs in zip(expected, part, strict=True)] for part in (single, batched))
    counts = [max(len(ours.scores), len(theirs.scores)) for ours, theirs in zip(expected, single, strict=True)]
    largest, group = (float(np.concatenate([np.zeros(1), *part]).max()) for part in (alone, together))
    if not inside:
        largest, group = (_largest(part[..., 4:], said[..., 4:]) for part in (answers.single, answers.batched))
    # A box agrees where it does both alone and among other images.
    right = ([int((each <= allowed.difference).sum()) for each in part] for part in (alone, together))
    agreeing = [min(each) for each in zip(*right, strict=True)]
    worst = int(np.argmax([count - right for count, right in zip(counts, agreeing, strict=True)]))
    every = np.concatenate([np.zeros(0), *alone])
    return Parity(
        images=len(expected),
        agreeing=sum(agreeing),
        largest=largest,
        mean=float(every.mean()) if len(every) else 0.0,
        batched=group,
        headline="AP",
        model=_ap(expected, task, split, preprocess),
        file=_ap(single, task, split, preprocess),
        worst=worst,
        answers=sum(counts),
        answered="boxes",
    )


def _differences(ours: BoxAnswer, theirs: BoxAnswer) -> np.ndarray:
    """Return how far the scores of the boxes that are in both answers are apart, (P,)."""
    first, second = pair_boxes(ours, theirs)
    return np.abs(ours.scores[first] - theirs.scores[second])


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
