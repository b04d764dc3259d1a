"""Masks as large as their images, whatever becomes of the images: answers are compared with them there, and each is decoded once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import numpy as np

from dataloader.targets.mask import IGNORE
from dataloader.targets.plane_change import Change, Size
from dataloader.targets.target import Stacked, Target


@dataclass(frozen=True, eq=False)
class WholeMask(Target):
    """The class of every pixel of the image in the file. Stacked: `WholeMasks`.

    Attributes:
        ids: integers (H, W).
        followed: whether a change of geometry was already passed over, so that the image no longer has this size.
    """

    ids: np.ndarray
    followed: bool = False

    def image_size(self) -> Size | None:
        height, width = self.ids.shape
        return None if self.followed else (height, width)

    def moved(self, change: Change) -> "WholeMask":
        """Return the mask as it is."""
        del change
        return replace(self, followed=True)

    def nothing(self) -> "WholeMask":
        return WholeMask(np.full((1, 1), IGNORE, np.uint8))

    @classmethod
    def stack(cls, targets: Sequence[Target]) -> "WholeMasks":
        return WholeMasks(tuple(cast(WholeMask, target).ids for target in targets))


@dataclass(frozen=True, eq=False)
class WholeMasks(Stacked):
    """The masks of N images, integers (H, W) of a size of its own each. They stay on the CPU, where there is room for them."""

    described: ClassVar[str] = "masks"

    ids: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: object, *, non_blocking: bool = True) -> "WholeMasks":
        del device, non_blocking
        return self

    def pin_memory(self) -> "WholeMasks":
        return self

    def resized(self, before: Size, after: Size) -> "WholeMasks":
        """Return the masks as they are."""
        del before, after
        return self
