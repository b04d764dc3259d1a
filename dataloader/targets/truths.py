"""Where the truth of images lies that has places on them: masks, boxes."""

from typing import Protocol

from dataloader.targets.target import Target


class Truths(Protocol):
    """What is true of each image of a data set. It is read on demand, and sent to the loader's processes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the numbers in masks or beside boxes, from 0 on."""
        ...

    def read(self, path: str) -> Target:
        """Return what is true of the image that a split calls `path`, in the pixels of its file.

        Raises:
            ImageError: it cannot be read.
        """
        ...

    def nothing(self) -> Target:
        """Return a target of the same kind that says nothing, of an image of any size."""
        ...
