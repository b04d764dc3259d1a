"""Rectangles around objects, each with a class."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from dataloader.targets.plane import Change, Size
from dataloader.targets.target import Target

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
    """

    corners: np.ndarray
    classes: np.ndarray
    size: Size
    least_visible: float = LEAST_VISIBLE

    def __post_init__(self) -> None:
        assert self.corners.shape == (len(self.classes), 4), "one class and four corners a box"

    def image_size(self) -> Size:
        return self.size

    def moved(self, change: Change) -> "Boxes":
        """Return the upright boxes around the moved corners, clipped to the image; hardly visible and empty ones are dropped."""
        corners = self.corners.astype(np.float64)
        start, end = corners[:, None, :2], corners[:, None, 2:]
        outline = _outline(2 if change.keeps_lines else _BENDS)
        points = change.move_points((start + outline * (end - start)).reshape(-1, 2)).reshape(len(corners), len(outline), 2)
        whole = np.concatenate([points.min(1), points.max(1)], axis=1)
        height, width = change.size
        clipped = whole.clip(0, [width, height, width, height])
        seen, area = areas(clipped), areas(whole)
        kept = (seen > 0) & (seen >= self.least_visible * area)
        return replace(self, corners=clipped[kept].astype(np.float32), classes=self.classes[kept], size=change.size)

    def nothing(self) -> "Boxes":
        return replace(self, corners=self.corners[:0], classes=self.classes[:0])

    @classmethod
    def stack(cls, targets: Sequence[Target]) -> "BoxBatch":
        boxes = [cast(Boxes, target) for target in targets]
        return BoxBatch(
            torch.from_numpy(np.concatenate([each.corners for each in boxes])),
            torch.from_numpy(np.concatenate([each.classes for each in boxes])),
            torch.tensor([len(each.classes) for each in boxes], dtype=torch.int64),
        )


def _outline(count: int) -> np.ndarray:
    """Return points (4 * count, 2) on the border of the unit square, `count` per side."""
    along, zeros = np.linspace(0, 1, count), np.zeros(count)
    sides = [(along, zeros), (along, zeros + 1), (zeros, along), (zeros + 1, along)]
    return np.concatenate([np.stack(side, axis=1) for side in sides])


@dataclass(frozen=True, eq=False)
class BoxBatch:
    """The concatenated boxes of N images. It is pickled as plain arrays.

    Attributes:
        corners: float32 (K, 4), of all images.
        classes: int64 (K,).
        counts: int64 (N,), boxes of each image.
    """

    corners: Tensor
    classes: Tensor
    counts: Tensor

    def __len__(self) -> int:
        return len(self.counts)

    def __reduce__(self) -> tuple:
        # Every tensor sent to another process needs a file handle, too costly for a few numbers.
        return _boxes_of, (self.corners.numpy(), self.classes.numpy(), self.counts.numpy())

    def of(self, number: int) -> tuple[Tensor, Tensor]:
        """Return corners (k, 4) and classes (k,) of image `number`."""
        end = int(self.counts[: number + 1].sum())
        start = end - int(self.counts[number])
        return self.corners[start:end], self.classes[start:end]

    def to(self, device: torch.device | str, *, non_blocking: bool = True) -> "BoxBatch":
        return BoxBatch(*(each.to(device, non_blocking=non_blocking) for each in (self.corners, self.classes, self.counts)))

    def pin_memory(self) -> "BoxBatch":
        return BoxBatch(*(each.pin_memory() for each in (self.corners, self.classes, self.counts)))


def _boxes_of(*arrays: np.ndarray) -> BoxBatch:
    """Return the batch of corners, classes and counts."""
    return BoxBatch(*map(torch.from_numpy, arrays))
