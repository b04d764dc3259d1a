"""Target: what is known of one image."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor

from dataloader.targets.plane import Change, Size


class Stacked(Protocol):
    """The targets of a batch: a tensor (N, ...), or ragged things with the same few verbs."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device | str, *, non_blocking: bool = True) -> Self:
        """Return it on a device."""
        ...

    def pin_memory(self) -> Self:
        """Return it in page-locked memory."""
        ...


class Target(ABC):
    """What is known of one image."""

    # Whether the target has places on the image, so that it must follow a change of geometry.
    is_spatial: bool = True
    # Whether an image has exactly one class, which the name of its folder can say.
    is_one_class: ClassVar[bool] = False
    # In words: what the classes of a data set are, and what an image has of it.
    described: ClassVar[str] = "classes"
    per_image: ClassVar[str] = "a target of its own"

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a stacked target for each pixel of its image; 0 where it does not grow with the image."""
        return 0

    @abstractmethod
    def image_size(self) -> Size | None:
        """Return (H, W) of the image that the target has places on; None where it has none."""

    @abstractmethod
    def moved(self, change: Change) -> "Target":
        """Return the target after a change of the image's plane."""

    @abstractmethod
    def nothing(self) -> "Target":
        """Return a target of the same kind that says nothing, for an image that fills up a batch and weighs nothing."""

    @classmethod
    def class_numbers(cls, row: Any) -> list[int]:
        """Return the numbers of the classes that an image has, from its row of a `Split`'s targets; none where these are no labels."""
        del row
        return []

    @classmethod
    @abstractmethod
    def stack(cls, targets: Sequence["Target"]) -> Tensor | Stacked:
        """Return the targets of a batch, all of this kind."""
