"""Random answers of a detector, random objects, and the formulas of the papers in numpy, an image and an object at a time."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Said(NamedTuple):
    """What a detector says; see `criterions/detection/assignment.py`."""

    boxes: Tensor
    objectness: Tensor
    classes: Tensor
    raw: Tensor
    points: Tensor
    strides: Tensor
    anchors: Tensor | None


class Scene(NamedTuple):
    """Answers for N images, and their objects."""

    said: Said
    corners: Tensor
    classes: Tensor
    counts: Tensor


def scene(counts: tuple[int, ...], *, classes: int = 3, size: int = 64, seed: int = 0, anchored: bool = False) -> Scene:
    """Return answers near the objects and away from them, with gradient in `raw` and the logits."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    points, strides = [], []
    for stride in (8, 16, 32):
        steps = (torch.arange(size // stride) + 0.5) * stride
        points.append(torch.stack(torch.meshgrid(steps, steps, indexing="xy"), 2).reshape(-1, 2))
        strides.append(torch.full((len(points[-1]),), float(stride)))
    at, step = torch.cat(points), torch.cat(strides)
    anchors = None
    if anchored:
        sizes = torch.tensor([[10.0, 13], [30, 61], [40, 20]])
        anchors = sizes.repeat_interleave(len(at), 0)
        at, step = at.repeat(3, 1), step.repeat(3)
    raw = torch.cat((draw(len(counts), len(at), 2).sigmoid(), 0.5 * draw(len(counts), len(at), 2)), 2).requires_grad_()
    unit = step[:, None] if anchors is None else anchors
    middles, sizes = at + (raw[..., :2] - 0.5) * step[:, None], raw[..., 2:].exp() * unit
    boxes = torch.cat((middles - sizes / 2, middles + sizes / 2), 2)
    objectness, logits = draw(len(counts), len(at)).requires_grad_(), draw(len(counts), len(at), classes).requires_grad_()
    total = sum(counts)
    start = torch.rand(total, 2, generator=generator) * size * 0.7
    corners = torch.cat((start, start + 4 + torch.rand(total, 2, generator=generator) * size * 0.5), 1).clamp(max=size)
    truth = torch.randint(classes, (total,), generator=generator)
    return Scene(Said(boxes, objectness, logits, raw, at, step, anchors), corners, truth, torch.tensor(counts))


def numpy_iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    meet = max(width, 0.0) * max(height, 0.0)
    return meet / ((first[2] - first[0]) * (first[3] - first[1]) + (second[2] - second[0]) * (second[3] - second[1]) - meet)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


class NumpyImage(NamedTuple):
    """What was said of one image, and its objects."""

    boxes: np.ndarray
    objectness: np.ndarray
    logits: np.ndarray
    points: np.ndarray
    strides: np.ndarray
    corners: np.ndarray
    classes: np.ndarray


def numpy_costs(image: NumpyImage, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Costs and IoU (k, A) of one image; places that no object may have cost infinity."""
    boxes, objectness, logits, points, strides, corners, classes = image
    costs, ious = np.zeros((len(corners), len(points))), np.zeros((len(corners), len(points)))
    inside, near = np.zeros(costs.shape, bool), np.zeros(costs.shape, bool)
    for k, (left, top, right, bottom) in enumerate(corners):
        for a, (x, y) in enumerate(points):
            inside[k, a] = left < x < right and top < y < bottom
            reach = radius * strides[a]
            near[k, a] = abs(x - (left + right) / 2) < reach and abs(y - (top + bottom) / 2) < reach
            ious[k, a] = numpy_iou(corners[k], boxes[a])
            p = np.sqrt(sigmoid(logits[a]) * sigmoid(objectness[a]))
            wanted = np.arange(len(p)) == classes[k]
            cross = -(np.log(p) * wanted + np.log(1 - p) * ~wanted).sum()
            costs[k, a] = cross + 3 * -np.log(ious[k, a] + 1e-8) + 1e5 * (not (inside[k, a] and near[k, a]))
    nobody = ~(inside | near).any(0)
    costs[:, nobody], ious[:, nobody] = np.inf, 0
    return costs, ious


def numpy_simota(costs: np.ndarray, ious: np.ndarray, top: int) -> np.ndarray:
    """Return the object of every place of one image, (A,), -1 where there is none."""
    taken = np.zeros(costs.shape, bool)
    for k in range(len(costs)):
        best = np.sort(ious[k])[::-1][: min(top, costs.shape[1])]
        number = max(1, int(best.sum()))
        for a in np.argsort(costs[k], kind="stable")[:number]:
            taken[k, a] = np.isfinite(costs[k, a])
    owner = np.full(costs.shape[1], -1)
    for a in range(costs.shape[1]):
        if taken[:, a].sum() == 1:
            owner[a] = taken[:, a].argmax()
        elif taken[:, a].sum() > 1:
            owner[a] = costs[:, a].argmin()
    return owner
