"""What an augmentation is: a function of a sample and a generator, and what it may say of itself besides."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import numpy as np

from dataloader.sample import Sample
from dataloader.targets.target import Target
from utils.errors import UserError

Operation = Callable[[Sample, np.random.Generator], Sample]


class SizeAware(ABC):
    """An operation whose result depends on the size that the network sees."""

    @abstractmethod
    def at(self, image_size: tuple[int, int]) -> "SizeAware":
        """Return the same operation for images of this height and width."""

    @abstractmethod
    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample: ...


class Others(Protocol):
    """The other images of a split."""

    def draw(self, rng: np.random.Generator) -> Sample:
        """Return one of them as it was read, by the generator alone.

        Raises:
            ImageError: several that were drawn cannot be read.
        """
        ...


class OfTargets(ABC):
    """An operation for certain kinds of targets alone."""

    @abstractmethod
    def check_target(self, target: Target) -> None:
        """Raise UserError for a target of another kind."""


class Composite(SizeAware, OfTargets):
    """An operation that puts other images of the split into an image, whose targets come with them."""

    @abstractmethod
    def compose(self, sample: Sample, others: Others, rng: np.random.Generator) -> Sample:
        """Return the sample with others in it."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        del sample, rng
        raise UserError(f"{operation_name(self)} needs the other images of a split, which only a loader has")


class Picky(ABC):
    """An operation that some kinds of targets cannot follow."""

    @abstractmethod
    def check_spatial(self) -> None:
        """Raise UserError when masks and boxes cannot follow this operation."""


def operation_name(operation: object) -> str:
    """Return the name of an operation, for messages."""
    return getattr(operation, "__name__", type(operation).__name__)
