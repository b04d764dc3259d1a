"""What travels through the data shelf: one image with its target, and a batch of them."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dataloader.targets.plane import Change
from dataloader.targets.target import Target
from utils.errors import UserError


@dataclass(frozen=True, eq=False)
class Sample:
    """One image and what is known of it.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        target: class index, or one probability a class, float (C,).
        weight: factor of this sample's loss.
        index: position in its split.
    """

    image: np.ndarray
    target: int | np.ndarray | Target
    weight: float = 1.0
    index: int = -1

    @property
    def is_spatial(self) -> bool:
        """Whether the target has places on the image, which follow what is done to it."""
        return isinstance(self.target, Target) and self.target.is_spatial

    def moved(self, image: np.ndarray, change: Change) -> "Sample":
        """Return the sample with the pixels after a change of geometry, and the target that follows it."""
        if not isinstance(self.target, Target):
            return replace(self, image=image)
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
        targets: int64 (N,) class indices, or float32 (N, C) probabilities.
        weights: float32 (N,) factors of the losses.
        indices: int64 (N,) positions in the split.
        unreadable: images that were planned for this batch and left out.
        epoch: the epoch that it belongs to, from 0.
        splits: k copies of every sample, one split after the other, so that N = k x samples: the clean images come first.
        changed: files that are not what they were when they were found.
    """

    images: Tensor
    targets: Tensor
    weights: Tensor
    indices: Tensor
    unreadable: tuple[Unreadable, ...] = ()
    changed: tuple[str, ...] = ()
    epoch: int = 0
    splits: int = 1

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self) -> tuple:
        return rebuilt, (self.images, *self.about())

    def about(self) -> "BatchFields":
        """Return everything but the images."""
        # Each tensor that leaves a process is a file handle to send: worth it for the images, not for a few numbers.
        numbers = (self.targets.numpy(), self.weights.numpy(), self.indices.numpy())
        return BatchFields(*numbers, self.unreadable, self.changed, self.epoch, self.splits)

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
    """What a batch holds beside its images, cheap to send between processes."""

    targets: np.ndarray
    weights: np.ndarray
    indices: np.ndarray
    unreadable: tuple[Unreadable, ...]
    changed: tuple[str, ...]
    epoch: int
    splits: int


def rebuilt(images: Tensor, *about: Any) -> Batch:
    """Return the batch of images, uint8 (N, 3, H, W), and what stands in its `About`."""
    targets, weights, indices, *others = about
    return Batch(images, torch.from_numpy(targets), torch.from_numpy(weights), torch.from_numpy(indices), *others)


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
    splits: int = 1,
) -> Batch:
    """Return the batch of `samples`, whose pixels are already in `images`.

    Args:
        samples: N samples. Where one has probabilities for a target, class indices beside it become probabilities too.
        images: uint8 (N, 3, H, W).
        unreadable: what was left out.
        epoch: the epoch that they belong to.
        splits: copies of every sample, one split after the other.
        changed: files that are not what they were.

    Raises:
        UserError: the targets have different numbers of classes, which an augmentation of the user's own may have given them.
    """
    assert len(samples) == len(images), "one image a sample"
    if any(isinstance(sample.target, np.ndarray) for sample in samples):
        targets = torch.from_numpy(_dense([sample.target for sample in samples]))
    else:
        targets = torch.tensor([int(sample.target) for sample in samples], dtype=torch.int64)
    return Batch(
        images=images,
        targets=targets,
        weights=torch.tensor([sample.weight for sample in samples], dtype=torch.float32),
        indices=torch.tensor([sample.index for sample in samples], dtype=torch.int64),
        unreadable=unreadable,
        epoch=epoch,
        splits=splits,
        changed=changed,
    )


def _dense(targets: list[int | np.ndarray]) -> np.ndarray:
    """Return targets as probabilities, float32 (N, C)."""
    shapes = {target.shape for target in targets if isinstance(target, np.ndarray)}
    shape = next(iter(shapes))
    highest = max((target for target in targets if not isinstance(target, np.ndarray)), default=0)
    if len(shapes) > 1 or len(shape) != 1 or highest >= shape[0]:
        found = ", ".join(sorted(str(each) for each in shapes))
        raise UserError(f"an augmentation gave targets of the shapes {found}: give each image one class index, or one probability a class")
    dense = np.zeros((len(targets), shape[0]), dtype=np.float32)
    for row, target in zip(dense, targets, strict=True):
        if isinstance(target, np.ndarray):
            row[:] = target
        else:
            row[target] = 1.0
    return dense
