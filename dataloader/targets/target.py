"""Target: what is to be learned of one image."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from dataloader.targets.plane_change import Change, Size

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Stacked(ABC):
    """The targets of a batch where these are no single tensor."""

    # For messages: what the images have.
    described: ClassVar[str] = "targets of their own"

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abstractmethod
    def to(self, device: "torch.device | str", *, non_blocking: bool = True) -> Self:
        """Return the targets on a device."""

    @abstractmethod
    def pin_memory(self) -> Self:
        """Return the targets in page-locked memory."""

    @abstractmethod
    def resized(self, before: Size, after: Size) -> Self:
        """Return the targets of images that were resized from (H, W) `before` to `after`."""


class Target(ABC):
    """What is to be learned of one image."""

    # Whether the target has positions on the image, so that it must follow changes of geometry.
    is_spatial: bool = True
    # Whether images can be put together, as mosaics do, and their targets with them.
    is_composable: ClassVar[bool] = False
    # Whether an image has exactly one class, so that it can be stored in class folders.
    is_one_class: ClassVar[bool] = False
    # For messages: what the classes of a data set are, and what each image has.
    described: ClassVar[str] = "classes"
    per_image: ClassVar[str] = "a target of its own"

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a stacked target for each pixel of its image; 0 where it does not grow with the image."""
        return 0

    @abstractmethod
    def image_size(self) -> Size | None:
        """Return (H, W) of the image that the positions refer to; None without positions."""

    @abstractmethod
    def moved(self, change: Change) -> "Target":
        """Return the target after a change of geometry of its image."""

    @abstractmethod
    def nothing(self) -> "Target":
        """Return an empty target of the same kind, for padding images of weight 0."""

    @classmethod
    def class_numbers(cls, row: Any) -> list[int]:
        """Return the numbers of the classes that an image has, from its row of a `Split`'s targets; none where these are not labels."""
        del row
        return []

    @classmethod
    @abstractmethod
    def stack(cls, targets: Sequence["Target"]) -> "Tensor | Stacked":
        """Return the targets of a batch, all of this kind."""
