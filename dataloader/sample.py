"""What travels through the data shelf: one image with its target, and a batch of them."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dataloader.targets.boxes import BoxBatch
from dataloader.targets.plane import Change
from dataloader.targets.stack import stack_targets
from dataloader.targets.target import Target
from utils.errors import UserError

Targets = Tensor | BoxBatch
# Axes of stacked masks.
MASKS = 3


@dataclass(frozen=True, eq=False)
class Sample:
    """One image and what is known of it.

    What changes pixels where they are gives `replace(sample, image=image)`; what moves them, `sample.moved(image, change)`.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        target: one of `dataloader/targets/`.
        weight: factor of this sample's loss.
        index: position in its split.

    Raises:
        UserError: the target is none, which an augmentation of the user's own may have tried.
    """

    image: np.ndarray
    target: Target
    weight: float = 1.0
    index: int = -1

    def __post_init__(self) -> None:
        if not isinstance(self.target, Target):
            raise UserError(f"the target of a Sample is a {type(self.target).__name__}: write Label(number), or Labels(one number a class)")

    @property
    def is_spatial(self) -> bool:
        """Whether the target has places on the image, which follow what is done to it."""
        return self.target.is_spatial

    def moved(self, image: np.ndarray, change: Change) -> "Sample":
        """Return the sample with the pixels after a change of geometry, and the target that follows it."""
        return replace(self, image=image, target=self.target.moved(change))


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
        targets: as the targets of one kind are stacked: int64 (N,) class indices, float32 (N, C) probabilities, masks (N, H, W) of
            their own type, boxes, or int64 (N, 0) where nothing is known.
        weights: float32 (N,) factors of the losses.
        indices: int64 (N,) positions in the split.
        unreadable: images that were planned for this batch and left out.
        epoch: the epoch that it belongs to, from 0.
        copies: k rows of every sample, all first ones, then all second ones, so that N = k x samples: the clean images come first.
        changed: files that are not what they were when they were found.
    """

    images: Tensor
    targets: Targets
    weights: Tensor
    indices: Tensor
    unreadable: tuple[Unreadable, ...] = ()
    changed: tuple[str, ...] = ()
    epoch: int = 0
    copies: int = 1

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self) -> tuple:
        return rebuilt, (self.images, *self.about())

    def about(self) -> "BatchFields":
        """Return everything but the images."""
        # Each tensor that leaves a process is a file handle to send: worth it for images and masks, not for a few numbers.
        targets = self.targets.numpy() if isinstance(self.targets, Tensor) and self.targets.ndim < MASKS else self.targets
        numbers = (self.weights.numpy(), self.indices.numpy())
        return BatchFields(targets, *numbers, self.unreadable, self.changed, self.epoch, self.copies)

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
    """What a batch holds beside its images, cheap to send between processes; no targets where they go another way."""

    targets: np.ndarray | Targets | None
    weights: np.ndarray
    indices: np.ndarray
    unreadable: tuple[Unreadable, ...]
    changed: tuple[str, ...]
    epoch: int
    copies: int


def rebuilt(images: Tensor, *about: Any) -> Batch:
    """Return the batch of images, uint8 (N, 3, H, W), and what stands in its `BatchFields`."""
    targets, weights, indices, *others = about
    if isinstance(targets, np.ndarray):
        targets = torch.from_numpy(targets)
    return Batch(images, targets, torch.from_numpy(weights), torch.from_numpy(indices), *others)


def blank_images(count: int, height: int, width: int, *, shared: bool) -> Tensor:
    """Return uninitialized uint8 (count, 3, height, width), channels-last: every image is one contiguous block.

    Args:
        count: images.
        height, width: their size.
        shared: in memory that another process can take over without a copy.
    """
    size = count * height * width * 3
    storage = torch.UntypedStorage._new_shared(size) if shared else torch.UntypedStorage(size)
    flat = torch.empty(0, dtype=torch.uint8).set_(storage)  # pyright: ignore[reportArgumentType, reportCallIssue]
    return flat.view(count, height, width, 3).permute(0, 3, 1, 2)


def stack(
    samples: list[Sample],
    images: Tensor,
    *,
    unreadable: tuple[Unreadable, ...] = (),
    changed: tuple[str, ...] = (),
    epoch: int = 0,
    copies: int = 1,
) -> Batch:
    """Return the batch of `samples`, whose pixels are already in `images`.

    Args:
        samples: N samples, whose targets belong to these images.
        images: uint8 (N, 3, H, W).
        unreadable: what was left out.
        epoch: the epoch that they belong to.
        copies: rows of every sample, all first ones, then all second ones.
        changed: files that are not what they were.

    Raises:
        UserError: the targets are of different kinds or shapes, which an augmentation of the user's own may have given them.
    """
    assert len(samples) == len(images), "one image a sample"
    return Batch(
        images=images,
        targets=stack_targets([sample.target for sample in samples]),
        weights=torch.tensor([sample.weight for sample in samples], dtype=torch.float32),
        indices=torch.tensor([sample.index for sample in samples], dtype=torch.int64),
        unreadable=unreadable,
        epoch=epoch,
        copies=copies,
        changed=changed,
    )
