"""Losses of boxes: overlap in three forms, and the difference of offsets in three."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from criterions.detection.assignment import Assignment, Objects, Predictions, area, overlaps
from criterions.weighters.ghm import GradientHarmony
from utils.errors import UserError

# How much the loss of overlaps counts beside the others (arXiv 2107.08430).
IOU_FACTOR = 5.0
# A box that overlaps its object by less than this is lost.
LOST = 0.1
# Keeps ratios of sizes from division by zero.
TINY = 1e-7


@dataclass(frozen=True, eq=False)
class Matched:
    """P pairs of a place and an object.

    Attributes:
        boxes: (P, 4) of left, top, right, bottom in pixels, as they were said.
        truth: (P, 4), as they are.
        raw: (P, 4), as `Predictions.raw`.
        wanted: (P, 4), what `raw` should be.
        valid: bool (P,), whether the pair holds.
        anchored: whether the network has anchors.
    """

    boxes: Tensor
    truth: Tensor
    raw: Tensor
    wanted: Tensor
    valid: Tensor
    anchored: bool

    @classmethod
    def of(cls, said: Predictions, objects: Objects, pairs: Assignment) -> "Matched":
        """Return what the pairs say of boxes."""
        places = pairs.places % said.objectness.shape[1]
        truth = objects.corners[pairs.rows]
        strides = said.strides[places][:, None]
        units = strides if said.anchors is None else said.anchors[places]
        middles = ((truth[:, :2] + truth[:, 2:]) / 2 - said.points[places]) / strides + 0.5
        sizes = ((truth[:, 2:] - truth[:, :2]).clamp(min=TINY) / units).log()
        boxes, raw = (values.flatten(0, 1)[pairs.places] for values in (said.boxes, said.raw))
        wanted = torch.cat((middles, sizes), dim=1)
        return cls(boxes, truth, raw, wanted, pairs.valid, said.anchors is not None)


class BoxLoss(nn.Module, ABC):
    """A loss of every pair; the criterion sums it over those that hold, divides by their number, and multiplies by `factor`."""

    factor: float

    def __init__(self, factor: float) -> None:
        super().__init__()
        if not 0 < factor < float("inf"):
            raise UserError(f"--criterion {type(self).__name__.lower()}: the factor {factor} must be a number above 0")
        self.factor = factor

    @abstractmethod
    def forward(self, matched: Matched, *, record: bool = True) -> Tensor:
        """Return the loss of every pair, (P,); of those that do not hold, any finite number."""

    def plain(self, matched: Matched) -> Tensor:
        """Return the same for evaluation: what a pair costs depends on no other pair."""
        return self(matched, record=False)


class OffsetLoss(BoxLoss, ABC):
    """A loss of what boxes were decoded from, whose gradient reaches any box."""


class IoU(BoxLoss):
    """1 - IoU^2, as published with YOLOX."""

    def __init__(self, factor: float = IOU_FACTOR) -> None:
        super().__init__(factor)

    def forward(self, matched: Matched, *, record: bool = True) -> Tensor:
        del record
        return 1 - overlaps(matched.boxes, matched.truth).square()


class GIoU(BoxLoss):
    """1 - IoU + the share of the box around both that belongs to neither (arXiv 1902.09630)."""

    def __init__(self, factor: float = IOU_FACTOR) -> None:
        super().__init__(factor)

    def forward(self, matched: Matched, *, record: bool = True) -> Tensor:
        del record
        said, truth = matched.boxes, matched.truth
        hull = _hull(said, truth).prod(-1).clamp(min=TINY)
        iou = overlaps(said, truth)
        # union = (areas) / (1 + IoU), which is the sum of the areas less what they share.
        union = (area(said) + area(truth)) / (1 + iou)
        return 1 - iou + (hull - union) / hull


class CIoU(BoxLoss):
    """1 - IoU + the distance of the middles + the difference of shapes (arXiv 1911.08287)."""

    def __init__(self, factor: float = IOU_FACTOR) -> None:
        super().__init__(factor)

    def forward(self, matched: Matched, *, record: bool = True) -> Tensor:
        del record
        said, truth = matched.boxes, matched.truth
        iou = overlaps(said, truth)
        diagonal = _hull(said, truth).square().sum(-1).clamp(min=TINY)
        apart = (said[:, :2] + said[:, 2:] - truth[:, :2] - truth[:, 2:]).square().sum(-1) / 4
        shape = 4 / torch.pi**2 * (_angle(truth) - _angle(said)).square()
        with torch.no_grad():
            share = shape / (1 - iou + shape).clamp(min=TINY)
        return 1 - iou + apart / diagonal + share * shape


class L1(OffsetLoss):
    """The absolute differences of the four offsets, in strides and logarithms of sizes."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__(factor)

    def forward(self, matched: Matched, *, record: bool = True) -> Tensor:
        del record
        return (matched.raw - matched.wanted).abs().sum(1)


class Yolo(OffsetLoss):
    """The loss of YOLOv3: cross entropy of the place in its cell, squared error of the logarithms of sizes."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__(factor)

    def forward(self, matched: Matched, *, record: bool = True) -> Tensor:
        del record
        if not matched.anchored:
            raise UserError("--criterion yolo is the box loss of networks with anchors; take iou, giou or ciou, or --arch yolov3")
        places, sizes = matched.raw.split(2, dim=1)
        where, how_large = matched.wanted.split(2, dim=1)
        crossed = F.binary_cross_entropy(places.clamp(0, 1), where.clamp(0, 1), reduction="none").sum(1)
        return crossed + (sizes - how_large).square().sum(1) / 2


class Lost(OffsetLoss):
    """The absolute differences of the offsets, of boxes that hardly overlap their object; 0 of all others.

    Losses of overlap have no gradient for a box that has shrunk to a point or grown out of bounds. Where an object keeps its place, as
    with anchors, nothing else would bring its box back.
    """

    def __init__(self) -> None:
        super().__init__(1.0)

    def forward(self, matched: Matched, *, record: bool = True) -> Tensor:
        del record
        with torch.no_grad():
            lost = overlaps(matched.boxes, matched.truth) < LOST
        return (matched.raw - matched.wanted).abs().sum(1) * lost


class GradientHarmonyOfBoxes(OffsetLoss):
    """GHM-R (arXiv 1811.05181, section 3.5): a smooth L1 of the offsets, in which common sizes of its gradient count less.

    Args:
        mu: where the loss turns from a square to an absolute value.
        bins: of the size of the gradient.
        momentum: of the moving counts.
        factor: of the loss in the sum.
    """

    def __init__(self, mu: float = 0.02, bins: int = 10, momentum: float = 0.7, factor: float = 10.0) -> None:
        super().__init__(factor)
        if not mu > 0:
            raise UserError(f"--criterion ghm_r: mu {mu} must be above 0; 0.02 is the paper's choice")
        self.mu = mu
        self.harmony = GradientHarmony(bins, momentum)

    def plain(self, matched: Matched) -> Tensor:
        return (self._root(matched.raw - matched.wanted) - self.mu).mean(1)

    def _root(self, difference: Tensor) -> Tensor:
        return (difference.square() + self.mu**2).sqrt()

    def forward(self, matched: Matched, *, record: bool = True) -> Tensor:
        difference = matched.raw - matched.wanted
        root = self._root(difference)
        valid = matched.valid[:, None]
        with torch.no_grad():
            hardness = (difference.abs() / root).where(valid, -1.0)
            count = self.harmony if record else self.harmony.unrecorded
            weights = count(difference, difference, hardness=hardness)
        # The mean over the four offsets, as the paper counts every one of them as an example.
        return ((root - self.mu) * weights).mean(1)


def _hull(first: Tensor, second: Tensor) -> Tensor:
    """Return width and height (P, 2) of the box around both."""
    return torch.maximum(first[:, 2:], second[:, 2:]) - torch.minimum(first[:, :2], second[:, :2])


def _angle(boxes: Tensor) -> Tensor:
    """Return the arc tangent of width over height, (P,)."""
    sizes = (boxes[:, 2:] - boxes[:, :2]).clamp(min=TINY)
    return torch.atan2(sizes[:, 0], sizes[:, 1])
