"""One image with its target, and a batch of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dataloader.targets.plane_change import Change
from dataloader.targets.stack import stack_targets
from dataloader.targets.target import Stacked, Target
from dataloader.targets.unknown import Unknown
from utils.errors import UserError

Targets = Tensor | Stacked
# Axes of stacked masks.
MASKS = 3


class BatchRow(NamedTuple):
    """What a batch holds of an image besides its pixels, see `Sample`."""

    target: Target
    weight: float
    index: int


@dataclass(frozen=True, eq=False)
class Sample:
    """One image and its target.

    An operation that moves no pixels returns `replace(sample, image=image)`; one that does, `sample.moved(image, change)`.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        target: one of `dataloader/targets/`.
        weight: factor of this sample's loss.
        index: position in its split.

    Raises:
        UserError: the target is of another type, perhaps from a user's own augmentation.
    """

    image: np.ndarray
    target: Target
    weight: float = 1.0
    index: int = -1

    def __post_init__(self) -> None:
        if not isinstance(self.target, Target):
            raise UserError(
                f"the target of a Sample is a {type(self.target).__name__}: write Label(number), or Labels(one number per class)"
            )

    @property
    def is_spatial(self) -> bool:
        """Whether the target has positions on the image, which must follow changes of geometry."""
        return self.target.is_spatial

    def moved(self, image: np.ndarray, change: Change) -> "Sample":
        """Return the sample after a change of geometry: the new pixels, and the target moved with them."""
        return replace(self, image=image, target=self.target.moved(change))

    def row(self) -> BatchRow:
        """Return what a batch holds of it besides its pixels."""
        return BatchRow(self.target, self.weight, self.index)


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be read, and why."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Batch:
    """N samples stacked.

    Attributes:
        images: uint8 (N, 3, H, W), channels-last in memory; float32 in 0..255 after a mix.
        targets: stacked by their type: int64 (N,) class indices, float32 (N, C) probabilities, masks (N, H, W) of
            their own dtype, boxes, or int64 (N, 0) if unknown.
        weights: float32 (N,) factors of the losses.
        indices: int64 (N,) positions in the split.
        unreadable: images that were planned for this batch and left out.
        epoch: the epoch that it belongs to, from 0.
        plain: whether it is of the last epochs, in which no images are put together.
        copies: k rows of every sample, all first ones, then all second ones, so that N = k x samples: the clean images come first.
        changed: files that have changed since they were found.
    """

    images: Tensor
    targets: Targets
    weights: Tensor
    indices: Tensor
    unreadable: tuple[Unreadable, ...] = ()
    changed: tuple[str, ...] = ()
    epoch: int = 0
    copies: int = 1
    plain: bool = False

    @classmethod
    def unlabeled(cls, images: Tensor) -> "Batch":
        """Return a batch of images, uint8 (N, 3, H, W), of which nothing is known; they are numbered from 0."""
        count = len(images)
        return cls(images, Unknown.stack([Unknown()] * count), torch.ones(count), torch.arange(count))

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self) -> tuple:
        return rebuilt, (self.images, *self.about())

    def about(self) -> "BatchFields":
        """Return everything but the images."""
        # Every tensor sent to another process needs a file handle: too costly for a few numbers, so only images and masks stay tensors.
        targets = self.targets.numpy() if isinstance(self.targets, Tensor) and self.targets.ndim < MASKS else self.targets
        numbers = (self.weights.numpy(), self.indices.numpy())
        return BatchFields(targets, *numbers, self.unreadable, self.changed, self.epoch, self.copies, self.plain)

    def to(self, device: torch.device | str, *, non_blocking: bool = True) -> "Batch":
        """Return the batch with its tensors on `device`; copies from pinned memory do not wait."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=non_blocking),
            targets=self.targets.to(device, non_blocking=non_blocking),
            weights=self.weights.to(device, non_blocking=non_blocking),
            indices=self.indices.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory, from which a GPU copies in the background."""
        return replace(
            self,
            images=self.images.pin_memory(),
            targets=self.targets.pin_memory(),
            weights=self.weights.pin_memory(),
            indices=self.indices.pin_memory(),
        )


class BatchFields(NamedTuple):
    """The fields of a batch except its images, cheap to send between processes; targets are None where they are sent separately."""

    targets: np.ndarray | Targets | None
    weights: np.ndarray
    indices: np.ndarray
    unreadable: tuple[Unreadable, ...]
    changed: tuple[str, ...]
    epoch: int
    copies: int
    plain: bool


def rebuilt(images: Tensor, *about: Any) -> Batch:
    """Return the batch of `images`, uint8 (N, 3, H, W), and the values of its `BatchFields`."""
    targets, weights, indices, *others = about
    if isinstance(targets, np.ndarray):
        targets = torch.from_numpy(targets)
    return Batch(images, targets, torch.from_numpy(weights), torch.from_numpy(indices), *others)


def blank_images(count: int, height: int, width: int, *, shared: bool, bands: int = 3) -> Tensor:
    """Return uninitialized uint8 (count, bands, height, width), channels-last: every image is one contiguous block.

    Args:
        count: images.
        height, width: their size.
        shared: in shared memory, which another process can use without a copy.
        bands: channels.
    """
    size = count * height * width * bands
    storage = torch.UntypedStorage._new_shared(size) if shared else torch.UntypedStorage(size)
    flat = torch.empty(0, dtype=torch.uint8).set_(storage)  # pyright: ignore[reportArgumentType, reportCallIssue]
    return flat.view(count, height, width, bands).permute(0, 3, 1, 2)


def stack(
    rows: Sequence[BatchRow],
    images: Tensor,
    *,
    unreadable: tuple[Unreadable, ...] = (),
    changed: tuple[str, ...] = (),
    epoch: int = 0,
    copies: int = 1,
    plain: bool = False,
) -> Batch:
    """Return the batch of images, whose pixels are already there.

    Args:
        rows: N, whose targets belong to these images.
        images: uint8 (N, 3, H, W).
        unreadable: images that were left out.
        epoch: the epoch that they belong to.
        copies: rows of every sample, all first ones, then all second ones.
        plain: whether they are of the last epochs, in which no images are put together.
        changed: files that have changed since they were found.

    Raises:
        UserError: the targets are of different kinds or shapes, perhaps because of a user's own augmentation.
    """
    assert len(rows) == len(images), "one image a row"
    return Batch(
        images=images,
        targets=stack_targets([row.target for row in rows]),
        weights=torch.tensor([row.weight for row in rows], dtype=torch.float32),
        indices=torch.tensor([row.index for row in rows], dtype=torch.int64),
        unreadable=unreadable,
        epoch=epoch,
        copies=copies,
        plain=plain,
        changed=changed,
    )
