"""What batch transforms that join samples have in common: when they do, and what becomes of targets and weights."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from dataloader.batch.targets import to_dense
from dataloader.sample import Batch
from utils.errors import UserError
from utils.randomness import Stream, numpy_rng


def blend(values: Tensor, partners: Tensor, share: float) -> Tensor:
    """Return share * values + (1 - share) * values[partners], for float values (N, ...)."""
    return torch.lerp(values[partners], values, share)


@dataclass(frozen=True)
class Mix(ABC):
    """A batch transform: with probability `ratio` every sample is joined with another one of its batch.

    Images become float32 in 0..255 and targets probabilities, mixed or not, so that the model always sees one type.

    Attributes:
        alpha: both parameters of the Beta distribution of the share that stays.
        ratio: probability that a batch is mixed.
        num_classes: width of the targets.
        seed: with step and rank, the only source of randomness.
    """

    NAME: ClassVar[str]

    alpha: float
    ratio: float
    num_classes: int
    seed: int

    def __post_init__(self) -> None:
        if not 0 < self.alpha < float("inf"):
            raise UserError(f"--{self.NAME}_alpha {self.alpha}: write a number above 0")
        if not 0 <= self.ratio <= 1:
            raise UserError(f"--mixup_ratio {self.ratio}: write a probability from 0 to 1")

    def __call__(self, batch: Batch, step: int, rank: int) -> Batch:
        """Return the mixed batch, on the device of the given one; sample weights are shared as the targets are, and indices stay."""
        images = batch.images.float()
        targets = to_dense(batch.targets, self.num_classes)
        rng = numpy_rng(Stream.MIX, self.seed, step, rank)
        if rng.random() >= self.ratio:
            return replace(batch, images=images, targets=targets)
        # float() has made a copy of bytes; images that are floating-point already belong to the caller.
        images, partners, share = self.joined(images, rng, copied=images is not batch.images)
        return replace(batch, images=images, targets=blend(targets, partners, share), weights=blend(batch.weights, partners, share))

    @abstractmethod
    def joined(self, images: Tensor, rng: np.random.Generator, *, copied: bool) -> tuple[Tensor, Tensor, float]:
        """Return the mixed images, the partner of each (N,), and the share that stays.

        Args:
            images: float (N, 3, H, W).
            rng: the only source of randomness.
            copied: whether `images` may be written to.
        """

    @staticmethod
    def partners(images: Tensor, rng: np.random.Generator) -> Tensor:
        """Return which image of the batch each one is joined with, (N,)."""
        return torch.from_numpy(rng.permutation(len(images))).to(images.device)
