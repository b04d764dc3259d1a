"""Whether an image shows a defect, of which kind, and where."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from dataloader.targets.mask import IGNORE, Mask, resized_masks
from dataloader.targets.plane_change import Change, Size
from dataloader.targets.target import Stacked, Target
from dataloader.targets.whole_mask import WholeMask, WholeMasks

# The kind of an image without a defect.
GOOD = "good"


@dataclass(frozen=True, eq=False)
class Defect(Target):
    """The kind of defect of an image, and its pixels. Stacked: `DefectBatch`.

    Attributes:
        kind: name of the kind; GOOD for none.
        mask: 1 where the defect is, else 0; IGNORE everywhere where nobody has marked it.
    """

    described = "classes, good and defective"
    per_image = "a good part, or a defect with its pixels"

    kind: str
    mask: Mask | WholeMask

    @property
    def pixel_bytes(self) -> int:
        return self.mask.pixel_bytes

    def image_size(self) -> Size | None:
        return self.mask.image_size()

    def moved(self, change: Change) -> "Defect":
        return replace(self, mask=self.mask.moved(change))

    def nothing(self) -> "Defect":
        return Defect(GOOD, self.mask.nothing())

    @classmethod
    def class_numbers(cls, row: int | np.int64) -> list[int]:
        """Return whether there is a defect, 0 or 1."""
        return [int(row)]

    @classmethod
    def stack(cls, targets: Sequence[Target]) -> "DefectBatch":
        defects = [cast(Defect, target) for target in targets]
        masks = [each.mask for each in defects]
        return DefectBatch(tuple(each.kind for each in defects), type(masks[0]).stack(masks))


@dataclass(frozen=True, eq=False)
class DefectBatch(Stacked):
    """The kinds and the masks of N images.

    Attributes:
        kinds: N names.
        masks: uint8 (N, H, W) of 0, 1 and IGNORE, or as large as the images of the files.
    """

    described: ClassVar[str] = "masks"

    kinds: tuple[str, ...]
    masks: Tensor | WholeMasks

    def __len__(self) -> int:
        return len(self.kinds)

    def __reduce__(self) -> tuple:
        # Every tensor sent to another process needs a file handle.
        return _batch_of, (self.kinds, self.masks.numpy() if isinstance(self.masks, Tensor) else self.masks)

    def to(self, device: torch.device | str, *, non_blocking: bool = True) -> "DefectBatch":
        return replace(self, masks=self.masks.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "DefectBatch":
        return replace(self, masks=self.masks.pin_memory())

    def resized(self, before: Size, after: Size) -> "DefectBatch":
        masks = self.masks.resized(before, after) if isinstance(self.masks, WholeMasks) else resized_masks(self.masks, before, after)
        return replace(self, masks=masks)


def _batch_of(kinds: tuple[str, ...], masks: np.ndarray | WholeMasks) -> DefectBatch:
    return DefectBatch(kinds, torch.from_numpy(masks) if isinstance(masks, np.ndarray) else masks)


def unmarked(size: Size) -> Mask:
    """Return the mask of an image of (H, W) whose defect nobody has marked."""
    return Mask(np.full(size, IGNORE, np.uint8))
