"""A class for every pixel."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from dataloader.targets.plane_change import Change, Size
from dataloader.targets.target import Target

# The usual value of unlabeled pixels.
IGNORE = 255


@dataclass(frozen=True, eq=False)
class Mask(Target):
    """The class of every pixel. Stacked: (N, H, W), of the type of the masks.

    Attributes:
        ids: integers (H, W).
        ignore: the value of unlabeled pixels, also of those that a change brings in from outside.
    """

    per_image: ClassVar[str] = "a mask"

    ids: np.ndarray
    ignore: int = IGNORE

    @property
    def pixel_bytes(self) -> int:
        return self.ids.itemsize

    def image_size(self) -> Size:
        height, width = self.ids.shape
        return height, width

    def moved(self, change: Change) -> "Mask":
        """Return the mask with each pixel's class looked up under its center (nearest neighbor)."""
        return replace(self, ids=change.move_ids(self.ids, self.ignore))

    def nothing(self) -> "Mask":
        return replace(self, ids=np.full_like(self.ids, self.ignore))

    @classmethod
    def stack(cls, targets: Sequence[Target]) -> Tensor:
        return torch.from_numpy(np.stack([cast(Mask, target).ids for target in targets]))


def resized_masks(masks: Tensor, before: Size, after: Size) -> Tensor:
    """Return masks (N, H, W) of images that were resized from (H, W) `before` to `after`, on their device.

    A pixel gets the class that lies under its center.
    """
    rows, columns = (_nearest(old, new, masks.device) for old, new in zip(before, after, strict=True))
    return masks[:, rows][:, :, columns]


def _nearest(before: int, after: int, device: torch.device) -> Tensor:
    """Return which of `before` pixels lies under the center of each of `after`, (after,)."""
    places = np.floor((np.arange(after) + 0.5) * before / after + 1e-9).astype(np.int64)
    return torch.from_numpy(places).to(device)
