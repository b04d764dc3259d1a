"""What a detector said, what is true, and who answers for whom: the words between assignment and losses."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Predictions(Protocol):
    """What a detector says of N images at A places, in float32.

    Attributes:
        boxes: (N, A, 4) of left, top, right, bottom in pixels.
        objectness: logits (N, A).
        classes: logits (N, A, C).
        raw: (N, A, 4): x and y of the middle, in strides from the upper left corner of the place; the logarithms of width and height over
            those of the anchor, or over the stride.
        points: (A, 2), the middles of the places in pixels.
        strides: (A,), pixels from a place to its neighbor.
        anchors: (A, 2), width and height; None for a network without anchors.
    """

    @property
    def boxes(self) -> Tensor: ...
    @property
    def objectness(self) -> Tensor: ...
    @property
    def classes(self) -> Tensor: ...
    @property
    def raw(self) -> Tensor: ...
    @property
    def points(self) -> Tensor: ...
    @property
    def strides(self) -> Tensor: ...
    @property
    def anchors(self) -> Tensor | None: ...


@dataclass(frozen=True, eq=False)
class Objects:
    """The K objects of a batch, image by image.

    Attributes:
        corners: float32 (K, 4) of left, top, right, bottom in pixels.
        classes: int64 (K,).
        images: int64 (K,), the image of each.
        trained: bool (K,): False for crowds, which are neither found nor missed.
    """

    corners: Tensor
    classes: Tensor
    images: Tensor
    trained: Tensor

    @classmethod
    def of(cls, corners: Tensor, classes: Tensor, counts: Tensor, crowd: Tensor | None) -> "Objects":
        """Return the objects of a batch whose images have `counts` (N,) of them. Nothing is read from the device."""
        images = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts, output_size=len(classes))
        trained = torch.ones_like(classes, dtype=torch.bool) if crowd is None else ~crowd
        return cls(corners.float(), classes, images, trained)


@dataclass(frozen=True, eq=False)
class Assignment:
    """Which places answer for which object, as P pairs, a number that is known without the device.

    Attributes:
        places: int64 (P,), numbers of places from 0 to N * A - 1.
        rows: int64 (P,), numbers of objects.
        valid: bool (P,), whether the pair holds; a place is in one valid pair at most.
        quality: (P,) in [0, 1], what the true class is asked to say.
        ignored: bool (N, A), places that are asked for nothing.
    """

    places: Tensor
    rows: Tensor
    valid: Tensor
    quality: Tensor
    ignored: Tensor

    @classmethod
    def nothing(cls, said: Predictions) -> "Assignment":
        """Return the assignment of images without objects."""
        device = said.boxes.device
        none, ignored = torch.empty(0, dtype=torch.int64, device=device), torch.zeros_like(said.objectness, dtype=torch.bool)
        return cls(none, none, none.bool(), none.to(said.boxes.dtype), ignored)


def overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Return intersection over union of boxes (..., 4) that broadcast to one another, (...)."""
    meet = (torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])).clamp(min=0).prod(-1)
    return meet / (area(first) + area(second) - meet).clamp(min=1e-9)


def area(boxes: Tensor) -> Tensor:
    """Return the areas of boxes (..., 4), (...)."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def in_crowds(points: Tensor, objects: Objects, images: int) -> Tensor:
    """Return whether places (A, 2) lie in a box of their image that is not trained, bool (N, A)."""
    inside = contains(objects.corners, points) & ~objects.trained[:, None]
    return any_of_image(inside, objects.images, images)


def contains(corners: Tensor, points: Tensor) -> Tensor:
    """Return whether the points (A, 2) lie inside the boxes (K, 4), bool (K, A)."""
    x, y = points[:, 0], points[:, 1]
    left, top, right, bottom = (side[:, None] for side in corners.unbind(1))
    return (x > left) & (x < right) & (y > top) & (y < bottom)


def any_of_image(flags: Tensor, rows: Tensor, images: int) -> Tensor:
    """Return whether any row of an image is set, bool (N, A), of flags (K, A) and the images (K,) of the rows."""
    counted = torch.zeros(images, flags.shape[1], device=flags.device)
    return counted.index_add_(0, rows, flags.to(counted.dtype)) > 0
