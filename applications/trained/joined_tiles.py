"""Joins the boxes that a detector answers for overlapping tiles of an image, so that each object is answered once."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from applications.tasks.box_answers import BoxAnswer, Choice, numpy_answer
from utils.metrics.box_overlap import overlap_of

# So close to the border of its tile, in pixels, a box may end because of it.
NEAR = 2.0
# Two boxes are of one object where they overlap so much in the part of the image that both tiles see.
ALIKE = 0.5
# A box that its tile cuts is dropped where another one of its class, at least half as sure, holds this share of it.
HELD, HALF = 0.7, 0.5


class Placed(NamedTuple):
    """Boxes of all tiles, by falling score, in pixels of the image.

    Attributes:
        corners: (K, 4).
        scores, classes: (K,).
        tiles: number of the tile of each, (K,).
        cut: whether each ends where its tile does, inside the image, (K,).
    """

    corners: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    tiles: np.ndarray
    cut: np.ndarray

    def rows(self, chosen: np.ndarray) -> "Placed":
        """Return some of the boxes."""
        return Placed(*(each[chosen] for each in self))


def joined(
    found: Sequence[BoxAnswer], places: Sequence[tuple[int, int]], tile: tuple[int, int], size: tuple[int, int], choice: Choice
) -> BoxAnswer:
    """Return the boxes of an image from those of its tiles.

    A box that ends where its tile does is part of an object. Where the next tile frames the same in what both see, the box grows to hold
    both parts, as often as needed, or gives way to a box that is whole.

    Args:
        found: of each tile, in its own pixels.
        places: (top, left) of each tile.
        tile: (H, W) of the tiles.
        size: (H, W) of the image.
        choice: which boxes are answered.
    """
    boxes = _grown(_placed(found, places, tile, size), places, tile)
    boxes = boxes.rows(~_held(boxes, agnostic=choice.agnostic))
    return numpy_answer(boxes.corners, boxes.scores, boxes.classes, choice)


def _placed(found: Sequence[BoxAnswer], places: Sequence[tuple[int, int]], tile: tuple[int, int], size: tuple[int, int]) -> Placed:
    (height, width), (high, wide) = size, tile
    parts = []
    for number, (answer, (top, left)) in enumerate(zip(found, places, strict=True)):
        inner = np.array([left > 0, top > 0, left + wide < width, top + high < height])
        near = np.concatenate([answer.corners[:, :2] < NEAR, answer.corners[:, 2:] > [wide - NEAR, high - NEAR]], axis=1)
        corners = answer.corners.clip(0, [wide, high, wide, high]) + np.array([left, top, left, top])
        corners = corners.clip(0, [width, height, width, height]).astype(np.float32)
        parts.append(Placed(corners, answer.scores, answer.classes, np.full(len(corners), number), np.any(near & inner, axis=1)))
    boxes = Placed(*(np.concatenate(each) for each in zip(*parts, strict=True)))
    boxes = boxes.rows(np.all(boxes.corners[:, 2:] > boxes.corners[:, :2], axis=1))
    return boxes.rows(np.argsort(-boxes.scores, kind="stable"))


def _grown(boxes: Placed, places: Sequence[tuple[int, int]], tile: tuple[int, int]) -> Placed:
    """Return the boxes with the parts of each object as one, the surest first."""
    # Of each box the surest counterpart of every other tile: rows are by falling score.
    counterparts: dict[int, dict[int, int]] = {}
    for one, other in sorted(_pairs(boxes, places, tile)):
        counterparts.setdefault(one, {}).setdefault(int(boxes.tiles[other]), other)
    corners, gone = boxes.corners.copy(), np.zeros(len(boxes.scores), bool)
    for first in np.flatnonzero(boxes.cut).tolist():
        if gone[first]:
            continue
        members, whole, turn = [first], False, 0
        while turn < len(members) and not whole:
            for other in counterparts.get(members[turn], {}).values():
                if gone[other] or other in members:
                    continue
                whole = whole or not boxes.cut[other]
                members.append(other)
            turn += 1
        if whole:
            # A whole box stands for its parts.
            gone[[each for each in members if boxes.cut[each]]] = True
            continue
        own = boxes.corners[members]
        corners[first] = np.concatenate([own[:, :2].min(0), own[:, 2:].max(0)])
        gone[members[1:]] = True
    return boxes._replace(corners=corners).rows(~gone)


def _pairs(boxes: Placed, places: Sequence[tuple[int, int]], tile: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield pairs of rows, in both orders, of which at least one is cut, that frame the same in what both of their tiles see."""
    members = [np.flatnonzero(boxes.tiles == number) for number in range(len(places))]
    for one, (top, left) in enumerate(places):
        for other in range(one + 1, len(places)):
            start = np.maximum([left, top], places[other][::-1])
            end = np.minimum([left + tile[1], top + tile[0]], np.add(places[other][::-1], tile[::-1]))
            if (end <= start).any() or not (len(members[one]) and len(members[other])):
                continue
            lower, upper = np.tile(start, 2), np.tile(end, 2)
            mine, theirs = (boxes.corners[rows].clip(lower, upper) for rows in (members[one], members[other]))
            alike = overlap_of(mine[:, None], theirs[None], np.zeros(len(theirs), bool)) >= ALIKE
            alike &= boxes.classes[members[one]][:, None] == boxes.classes[members[other]]
            alike &= boxes.cut[members[one]][:, None] | boxes.cut[members[other]]
            for row, column in np.argwhere(alike).tolist():
                yield int(members[one][row]), int(members[other][column])
                yield int(members[other][column]), int(members[one][row])


def _held(boxes: Placed, *, agnostic: bool) -> np.ndarray:
    """Return which boxes are parts of objects that a larger box of their class holds, bool (K,)."""
    corners = boxes.corners
    area, held = (corners[:, 2:] - corners[:, :2]).prod(1), np.zeros(len(corners), bool)
    for number in np.flatnonzero(boxes.cut).tolist():
        sides = np.minimum(corners[:, 2:], corners[number, 2:]) - np.maximum(corners[:, :2], corners[number, :2])
        others = (area > area[number]) & (sides.clip(0).prod(1) >= HELD * area[number]) & (boxes.scores >= HALF * boxes.scores[number])
        held[number] = bool((others if agnostic else others & (boxes.classes == boxes.classes[number])).any())
    return held
