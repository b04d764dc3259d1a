"""What every weighter is: a module that turns answers into factors of the loss."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ClassFacts:
    """What a weighter may ask about the classes.

    Attributes:
        names: in the order of the model's outputs.
        counts: training images of every class, fractional where targets are shared.
        shares: the same, with each image counted once: one with several labels as an equal part of an image for each. The
            counts themselves where images have one label each.
    """

    names: Sequence[str]
    counts: Sequence[float]
    shares: Sequence[float]


class Weighter(nn.Module, ABC):
    """Factors of the loss terms, chosen from the answers of a batch.

    It is built with the arguments of its spec, and called without gradient. State is kept in
    buffers, which move in training mode only, and not by a batch that is not to be recorded.

    Attributes:
        SCALE: what keeps the mean factor of the terms that carry loss at 1. 'moving': the criterion divides by the mean of
            the last batches. 'batch': by that of each batch, for what compares the samples of a batch with one another.
            'own': the weighter does so itself, or leaves terms out and the others as they are.
    """

    SCALE: ClassVar[Literal["moving", "batch", "own"]] = "moving"

    def retarget(self, targets: Tensor) -> Tensor:
        """Return the targets that the loss asks for, (N, C), before label smoothing: the given ones, unless labels that share an image
        are to count differently.
        """
        return targets

    @abstractmethod
    def forward(self, probabilities: Tensor, targets: Tensor, *, hardness: Tensor) -> Tensor:
        """Return factors that broadcast to (N, C).

        Args:
            probabilities: (N, C), softmax or sigmoid.
            targets: (N, C), dense, before `retarget` and label smoothing.
            hardness: how wrong each problem is answered, in [0, 1]: (N, 1) for softmax, (N, C) for sigmoids; measured against
                the targets of the loss, as the gradient is. -1 where a sample weighs nothing, and poses no problem.
        """

    def unrecorded(self, probabilities: Tensor, targets: Tensor, *, hardness: Tensor) -> Tensor:
        """Return the factors of `forward` for a batch that leaves the buffers as they are, such as a second look."""
        before = {name: value.clone() for name, value in self.named_buffers()}
        factors = self(probabilities, targets, hardness=hardness)
        for name, value in self.named_buffers():
            value.copy_(before[name])
        return factors


class ClassWeighter(Weighter):
    """A weighter that depends on the classes of the data."""

    @classmethod
    @abstractmethod
    def build(cls, facts: ClassFacts, *args: Any, **kwargs: Any) -> Self:
        """Return the weighter that a spec with these arguments stands for; files are read here."""


def as_buffer(values: np.ndarray) -> Tensor:
    """Return numbers as float32, the type in which losses are computed."""
    return torch.from_numpy(np.asarray(values)).float()


def rows_of(targets: Tensor, matrix: Tensor, *, neutral: float) -> Tensor:
    """Return what a matrix, row the true class, says of every class under a target, (N, C).

    For one label that is its row, for shared targets the mean of their rows. Of several labels each is judged by its own
    diagonal, and another class by the mean of the rows of the labels; where there is no label, `neutral` stands.

    Args:
        targets: (N, C), dense.
        matrix: (C, C).
        neutral: for classes that no label speaks of.
    """
    own = targets * matrix.diagonal()
    others = targets.sum(dim=1, keepdim=True) - targets
    mean = ((targets @ matrix - own) / others.clamp(min=1e-12)).where(others > 0, neutral)
    return own + (1 - targets) * mean
