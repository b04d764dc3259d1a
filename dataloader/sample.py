"""What travels through the data shelf: one image with its target, and a batch of them."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


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
    target: int | np.ndarray
    weight: float = 1.0
    index: int = -1


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
        changed: files that are not what they were when they were found.
    """

    images: Tensor
    targets: Tensor
    weights: Tensor
    indices: Tensor
    unreadable: tuple[Unreadable, ...] = ()
    changed: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

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


def stack(samples: list[Sample], images: Tensor, *, unreadable: tuple[Unreadable, ...] = (), changed: tuple[str, ...] = ()) -> Batch:
    """Return the batch of `samples`, whose pixels are already in `images`.

    Args:
        samples: N samples with targets of one kind.
        images: uint8 (N, 3, H, W).
        unreadable: what was left out.
        changed: files that are not what they were.
    """
    assert len(samples) == len(images), "one image a sample"
    if any(isinstance(sample.target, np.ndarray) for sample in samples):
        targets = torch.from_numpy(np.stack([np.asarray(sample.target, dtype=np.float32) for sample in samples]))
    else:
        targets = torch.tensor([int(sample.target) for sample in samples], dtype=torch.int64)
    return Batch(
        images=images,
        targets=targets,
        weights=torch.tensor([sample.weight for sample in samples], dtype=torch.float32),
        indices=torch.tensor([sample.index for sample in samples], dtype=torch.int64),
        unreadable=unreadable,
        changed=changed,
    )
