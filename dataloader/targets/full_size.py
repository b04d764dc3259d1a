"""The masks of a data set, as large as their images, for evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dataloader.targets.defect import Defect
from dataloader.targets.mask import IGNORE, Mask
from dataloader.targets.target import Target
from dataloader.targets.truths import Truths
from dataloader.targets.whole_mask import WholeMask


@dataclass(frozen=True)
class AtFullSize:
    """The masks of a data set, as whole ones."""

    masks: Truths

    @property
    def classes(self) -> tuple[str, ...]:
        return self.masks.classes

    def read(self, path: str) -> Target:
        """Return the mask of an image, or its defect; errors are those of the data set."""
        target = self.masks.read(path)
        if isinstance(target, Defect):
            return Defect(target.kind, WholeMask(target.mask.ids))
        assert isinstance(target, Mask)
        return WholeMask(target.ids)

    def nothing(self) -> Target:
        """Return a mask of one unlabeled pixel, or a good image with one."""
        unlabeled = WholeMask(np.full((1, 1), IGNORE, np.uint8))
        empty = self.masks.nothing()
        return Defect(empty.kind, unlabeled) if isinstance(empty, Defect) else unlabeled

    def count(self, paths: Sequence[str]) -> np.ndarray:
        """Return the pixels of every class in the masks of some images, int64 (C,)."""
        return self.masks.count(paths)
