"""Rectangles around objects, each with a class."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from dataloader.targets.plane_change import Change, Size
from dataloader.targets.target import Stacked, Target

# Points per side of a box that are mapped by a change that bends lines.
_BENDS = 17
# A box is dropped when less than this share of its area is left in the image.
LEAST_VISIBLE = 0.1


def areas(corners: np.ndarray) -> np.ndarray:
    """Return the areas of boxes (K, 4) of left, top, right, bottom: float (K,)."""
    return (corners[:, 2] - corners[:, 0]).clip(0) * (corners[:, 3] - corners[:, 1]).clip(0)


@dataclass(frozen=True, eq=False)
class Boxes(Target):
    """K boxes. Stacked: `BoxBatch`.

    Attributes:
        corners: float32 (K, 4) of left, top, right, bottom in pixels, from the upper left corner of the image.
        classes: int64 (K,).
        size: (H, W) of the image.
        least_visible: a box is dropped when a change leaves a smaller share of its area inside the image.
        crowd: bool (K,), boxes that are neither learned nor counted as hits or misses: groups of objects (COCO's iscrowd)
            and difficult ones (Pascal VOC). All False when not given.
        areas: float32 (K,), of the objects in pixels, which may be smaller than their boxes (COCO's area, by which objects are small,
            medium or large); those of the boxes when not given.
    """

    per_image: ClassVar[str] = "boxes"
    is_composable: ClassVar[bool] = True

    corners: np.ndarray
    classes: np.ndarray
    size: Size
    least_visible: float = LEAST_VISIBLE
    crowd: np.ndarray = field(default_factory=lambda: np.empty(0, bool))
    areas: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))

    def __post_init__(self) -> None:
        if len(self.crowd) == 0:
            object.__setattr__(self, "crowd", np.zeros(len(self.classes), bool))
        if len(self.areas) == 0:
            object.__setattr__(self, "areas", areas(self.corners.astype(np.float64)).astype(np.float32))
        assert self.corners.shape == (len(self.classes), 4), "one class and four corners a box"
        assert len(self.crowd) == len(self.areas) == len(self.classes), "one flag and one area a box"

    def __len__(self) -> int:
        return len(self.classes)

    def chosen(self, kept: np.ndarray) -> "Boxes":
        """Return the boxes at positions, integers (k,), or where bool (K,) is set."""
        more = {"crowd": self.crowd[kept], "areas": self.areas[kept]}
        return replace(self, corners=self.corners[kept], classes=self.classes[kept], **more)

    def image_size(self) -> Size:
        return self.size

    def moved(self, change: Change) -> "Boxes":
        """Return the upright boxes around the moved corners, clipped to the image; hardly visible and empty ones are dropped.

        The area of an object grows as its box does before it is made upright, and shrinks by the share that is clipped.
        """
        corners = self.corners.astype(np.float64)
        start, end = corners[:, None, :2], corners[:, None, 2:]
        side = 2 if change.keeps_lines else _BENDS
        outline = _outline(side)
        points = change.move_points((start + outline * (end - start)).reshape(-1, 2)).reshape(len(corners), len(outline), 2)
        whole = np.concatenate([points.min(1), points.max(1)], axis=1)
        height, width = change.size
        clipped = whole.clip(0, [width, height, width, height])
        seen, area = areas(clipped), areas(whole)
        kept = (seen > 0) & (seen >= self.least_visible * area)
        # The area of a quadrangle by its diagonals.
        down, up = points[:, 2 * side - 1] - points[:, 0], points[:, side] - points[:, side - 1]
        tilted = np.abs(down[:, 0] * up[:, 1] - down[:, 1] * up[:, 0]) / 2
        before = areas(corners)
        left = np.divide(tilted * seen, before * area, out=np.zeros_like(area), where=kept & (before > 0))
        moved = replace(self, corners=clipped.astype(np.float32), areas=(self.areas * left).astype(np.float32), size=change.size)
        return moved.chosen(kept)

    def nothing(self) -> "Boxes":
        return self.chosen(np.empty(0, np.int64))

    @classmethod
    def stack(cls, targets: Sequence[Target]) -> "BoxBatch":
        boxes = [cast(Boxes, target) for target in targets]
        return BoxBatch(
            torch.from_numpy(np.concatenate([each.corners for each in boxes])),
            torch.from_numpy(np.concatenate([each.classes for each in boxes])),
            torch.tensor([len(each) for each in boxes], dtype=torch.int64),
            torch.from_numpy(np.concatenate([each.crowd for each in boxes])),
            torch.from_numpy(np.concatenate([each.areas for each in boxes])),
        )


def _outline(count: int) -> np.ndarray:
    """Return points (4 * count, 2) on the border of the unit square, `count` per side."""
    along, zeros = np.linspace(0, 1, count), np.zeros(count)
    sides = [(along, zeros), (along, zeros + 1), (zeros, along), (zeros + 1, along)]
    return np.concatenate([np.stack(side, axis=1) for side in sides])


@dataclass(frozen=True, eq=False)
class BoxBatch(Stacked):
    """The concatenated boxes of N images. It is pickled as plain arrays.

    Attributes:
        corners: float32 (K, 4), of all images.
        classes: int64 (K,).
        counts: int64 (N,), boxes of each image.
        crowd: bool (K,), see `Boxes`; False when not given.
        areas: float32 (K,), see `Boxes`; those of the boxes when not given.
    """

    described: ClassVar[str] = "boxes"

    corners: Tensor
    classes: Tensor
    counts: Tensor
    crowd: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    areas: Tensor = field(default_factory=lambda: torch.empty(0))

    def __post_init__(self) -> None:
        if len(self.crowd) == 0:
            object.__setattr__(self, "crowd", torch.zeros_like(self.classes, dtype=torch.bool))
        if len(self.areas) == 0:
            object.__setattr__(self, "areas", (self.corners[:, 2:] - self.corners[:, :2]).clamp(min=0).prod(dim=1))

    def __len__(self) -> int:
        return len(self.counts)

    def __reduce__(self) -> tuple:
        # Every tensor sent to another process needs a file handle, too costly for a few numbers.
        return _boxes_of, tuple(each.numpy() for each in self._parts())

    def rows(self, number: int) -> slice:
        """Return the rows of the boxes of image `number`."""
        end = int(self.counts[: number + 1].sum())
        return slice(end - int(self.counts[number]), end)

    def of(self, number: int) -> tuple[Tensor, Tensor]:
        """Return corners (k, 4) and classes (k,) of image `number`."""
        rows = self.rows(number)
        return self.corners[rows], self.classes[rows]

    def learned(self) -> "BoxBatch":
        """Return the boxes that are learned: all but crowds."""
        kept = ~self.crowd
        image = torch.repeat_interleave(torch.arange(len(self), device=self.counts.device), self.counts)
        counts = torch.bincount(image[kept], minlength=len(self))
        return BoxBatch(self.corners[kept], self.classes[kept], counts, self.crowd[kept], self.areas[kept])

    def to(self, device: torch.device | str, *, non_blocking: bool = True) -> "BoxBatch":
        return BoxBatch(*(each.to(device, non_blocking=non_blocking) for each in self._parts()))

    def pin_memory(self) -> "BoxBatch":
        return BoxBatch(*(each.pin_memory() for each in self._parts()))

    def resized(self, before: Size, after: Size) -> "BoxBatch":
        (high, wide), (height, width) = before, after
        factors = torch.tensor([width / wide, height / high] * 2, device=self.corners.device)
        areas = self.areas * float(width / wide * height / high)
        return BoxBatch(self.corners * factors, self.classes, self.counts, self.crowd, areas)

    def _parts(self) -> tuple[Tensor, ...]:
        return self.corners, self.classes, self.counts, self.crowd, self.areas


def _boxes_of(*arrays: np.ndarray) -> BoxBatch:
    """Return the batch of corners, classes, counts, crowds and areas."""
    return BoxBatch(*map(torch.from_numpy, arrays))
