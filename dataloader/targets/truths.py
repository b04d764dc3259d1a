"""Access to targets with positions: masks, boxes."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from dataloader.targets.target import Target


class Truths(Protocol):
    """The masks or boxes of a data set. They are read on demand; this object is sent to the loader's processes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in masks or of boxes, from 0 on."""
        ...

    def read(self, path: str) -> Target:
        """Return the target of the image with this path in a split, in pixels of its file.

        Raises:
            ImageError: it cannot be read.
        """
        ...

    def nothing(self) -> Target:
        """Return an empty target of the same kind, for an image of any size."""
        ...

    def count(self, paths: Sequence[str]) -> np.ndarray:
        """Return how much of every class the targets of some images hold, int64 (C,): pixels of masks, boxes."""
        ...
