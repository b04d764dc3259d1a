"""From what a detector says of every place to the boxes that are answered, on the original image.

Where one answer of two that overlap is dropped: Neubeck, Van Gool: Efficient Non-Maximum Suppression (ICPR 2006); the greedy form.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dataloader.targets.plane_change import PlaneChange

# Boxes of highest score that are looked at together, and in all.
BLOCK, MOST_CANDIDATES = 1_000, 30_000


@dataclass(frozen=True)
class Choice:
    """Which of the boxes that a detector says are answered.

    Attributes:
        confidence: least score, from 0 to 1; a box and a class have one.
        overlap: of two boxes that overlap more than this, the one of lower score is dropped; 1 keeps all.
        most: answers of an image.
        agnostic: boxes drop those of other classes, too.
        thresholds: least score of each class in place of `confidence`, or None.
    """

    confidence: float
    overlap: float = 0.65
    most: int = 300
    agnostic: bool = False
    thresholds: tuple[float, ...] | None = None


class BoxAnswer(NamedTuple):
    """The boxes that are answered for an image, the surest first.

    Attributes:
        corners: left, top, right, bottom in pixels, float32 (K, 4).
        scores: float32 (K,).
        classes: int64 (K,).
    """

    corners: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def rows(self, chosen: np.ndarray) -> "BoxAnswer":
        """Return some of the boxes, by rows or by a mask."""
        return BoxAnswer(self.corners[chosen], self.scores[chosen], self.classes[chosen])


class Candidates(NamedTuple):
    """Boxes before one of two is dropped: corners (K, 4), scores (K,), classes (K,), by falling score."""

    corners: Tensor
    scores: Tensor
    classes: Tensor


def candidates_of(said: Tensor, choice: Choice, count: int) -> tuple[Candidates, bool]:
    """Return the `count` boxes of highest score that reach the confidence, and whether there are more.

    A place gives a box for every class that reaches it, as COCO's figures want it.

    Args:
        said: (A, 4 + 1 + C): corners, objectness, probabilities of the classes.
        choice: which of them count.
        count: how many to return at most.
    """
    scores = said[:, 5:] * said[:, 4:5]
    floor = choice.confidence
    if choice.thresholds is not None:
        scores = torch.where(scores >= said.new_tensor(choice.thresholds), scores, -1.0)
        floor = 0.0
    best = scores.amax(1)
    # The best class of so many places reaches this, so the boxes of highest score do.
    bound = max(floor, float(best.topk(count).values[-1])) if len(best) > count else floor
    places = (best >= bound).nonzero()[:, 0]
    chosen = scores[places]
    if choice.agnostic:
        # Of the boxes of one place only the surest could stay.
        rows, columns = torch.arange(len(places), device=said.device), chosen.argmax(1)
    else:
        rows, columns = (chosen >= bound).nonzero(as_tuple=True)
    values = chosen[rows, columns]
    more = bound > floor or len(values) > count
    if len(values) > 4 * count:
        kept = values.topk(count, sorted=False).indices.sort().values
        rows, columns, values = rows[kept], columns[kept], values[kept]
    values, order = values.sort(descending=True, stable=True)
    order = order[:count]
    return Candidates(said[places[rows[order]], :4], values[:count], columns[order]), more


def chosen_boxes(said: Tensor, choice: Choice) -> Candidates:
    """Return the boxes that are answered for an image, in the plane of `said`, (A, 4 + 1 + C)."""
    found, more = candidates_of(said, choice, BLOCK)
    kept = without_doubles(found, choice)
    if more and len(kept.scores) < choice.most:
        found, _ = candidates_of(said, choice, MOST_CANDIDATES)
        kept = without_doubles(found, choice)
    return kept


def without_doubles(found: Candidates, choice: Choice) -> Candidates:
    """Return at most `choice.most` candidates, by falling score, without those that a surer one of their class overlaps too much.

    They are looked at a block after the other, and no further than is needed.
    """
    if choice.overlap >= 1 or not len(found.scores):
        return Candidates(*(each[: choice.most] for each in found))
    # It loads torch's compiler: half of what torch itself takes, at the start of every program that may meet a box.
    from torchvision.ops import nms

    apart, scores = found.corners.double(), found.scores.double()
    if not choice.agnostic:
        # Boxes of different classes are moved where they cannot meet; float64 keeps what they overlap.
        apart = apart + (found.classes * (apart.max() - apart.min() + 1))[:, None]
    kept, start, size = torch.empty(0, dtype=torch.int64, device=apart.device), 0, BLOCK
    while start < len(apart) and len(kept) < choice.most:
        block = torch.arange(start, min(start + size, len(apart)), device=apart.device)
        # What was kept comes first, and stays.
        block = torch.cat([kept, block])
        kept = block[nms(apart[block], scores[block], choice.overlap)]
        start, size = start + size, 4 * size
    return Candidates(*(each[kept[: choice.most]] for each in found))


def answer_of(said: Tensor, choice: Choice, back: PlaneChange | None = None) -> BoxAnswer:
    """Return the answer for an image: on the original image, to which `back` leads; without it in the plane of the network.

    Boxes end at the border of the original image; one that lies beyond it is none.
    """
    found = chosen_boxes(said.float(), choice)
    answer = BoxAnswer(found.corners.cpu().numpy(), found.scores.cpu().numpy(), found.classes.cpu().numpy())
    return answer if back is None else placed(answer, back)


def placed(answer: BoxAnswer, back: PlaneChange) -> BoxAnswer:
    """Return the boxes on the original image."""
    corners = back.move_points(answer.corners.reshape(-1, 2).astype(np.float64)).reshape(-1, 4)
    height, width = back.size
    corners = corners.clip(0, [width, height, width, height])
    inside = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    return BoxAnswer(corners.astype(np.float32), answer.scores, answer.classes).rows(inside)


def numpy_answer(corners: np.ndarray, scores: np.ndarray, classes: np.ndarray, choice: Choice) -> BoxAnswer:
    """Return some boxes without doubles, by falling score."""
    order = np.argsort(-scores, kind="stable")
    found = Candidates(*(torch.from_numpy(np.ascontiguousarray(each[order])) for each in (corners, scores, classes)))
    return BoxAnswer(*(each.numpy() for each in without_doubles(found, choice)))
