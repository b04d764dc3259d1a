"""What mixup and CutMix share: when samples are mixed, with which partners, and how targets and weights are mixed."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dataloader.batch.targets import to_dense
from dataloader.sample import Batch
from utils.errors import UserError
from utils.randomness import Stream, numpy_rng

Mode = Literal["batch", "pair", "elem"]
# Stream number for drawing pairs, independent of the draws for whole batches.
PAIRS = 2


def blend(values: Tensor, partners: Tensor, share: float | Tensor) -> Tensor:
    """Return share * values + (1 - share) * values[partners], for float values (N, ...); share is one number, or one per sample (N,)."""
    if isinstance(share, Tensor):
        share = share.to(values.dtype).view(-1, *[1] * (values.ndim - 1))
    return torch.lerp(values[partners], values, share)


def blend_targets(targets: Tensor, weights: Tensor, partners: Tensor, share: float | Tensor) -> tuple[Tensor, Tensor]:
    """Return the targets and the weights of mixed samples, so that each label counts by its share of the image x its own weight.

    A loss that is linear in the targets is then the sum of both losses, each times its share and its weight: the pixels of an image
    of weight zero may appear, but its label is not learned.

    Args:
        targets: (N, C), probabilities.
        weights: (N,).
        partners: (N,).
        share: of the sample itself, not its partner.
    """
    mixed = blend(weights, partners, share)
    counted = blend(targets * weights[:, None], partners, share)
    usual = blend(targets, partners, share)
    return torch.where(mixed[:, None] > 0, counted / mixed[:, None].clamp(min=1e-12), usual), mixed


class Pairs(NamedTuple):
    """The partner of every sample, int64 (N,), and the number of its draw, equal for both samples of a pair, int64 (N,)."""

    partners: np.ndarray
    draws: np.ndarray


def draw_pairs(count: int, mode: Mode, rng: np.random.Generator) -> Pairs:
    """Return the partners in a batch. In mode 'pair' two samples are each other's partner, and the last of an odd number is its own."""
    order = rng.permutation(count)
    if mode == "elem":
        return Pairs(order, np.arange(count))
    partners, draws = np.arange(count), np.empty(count, dtype=np.int64)
    even = order[: count // 2 * 2].reshape(-1, 2)
    partners[even] = even[:, ::-1]
    draws[order] = np.arange(count) // 2
    return Pairs(partners, draws)


@dataclass(frozen=True)
class Mix(ABC):
    """A batch transform: with probability `ratio` a sample is mixed with another one of its batch.

    Images become float32 in 0..255 and targets probabilities, mixed or not, so that the model always sees one type.

    Attributes:
        alpha: both parameters of the Beta distribution of the share that stays.
        ratio: probability that a batch is mixed; with another `mode`, a pair or a sample.
        num_classes: width of the targets.
        seed: with step and rank, the only source of randomness.
        mode: one draw for the whole batch, for two samples that are mixed with each other, or for every sample.
    """

    NAME: ClassVar[str]

    alpha: float
    ratio: float
    num_classes: int
    seed: int
    mode: Mode = "batch"

    def __post_init__(self) -> None:
        if not 0 < self.alpha < float("inf"):
            raise UserError(f"--{self.NAME}_alpha {self.alpha}: write a number above 0")
        if not 0 <= self.ratio <= 1:
            raise UserError(f"--mixup_ratio {self.ratio}: write a probability from 0 to 1")

    def __call__(self, batch: Batch, step: int, rank: int) -> Batch:
        """Return the mixed batch, on the device of the given one; labels count by share and sample weight, and indices stay."""
        images = batch.images.float()
        targets = to_dense(batch.targets, self.num_classes)
        # float() copied uint8 images; images that were float already belong to the caller.
        copied = images is not batch.images
        share: float | Tensor
        if self.mode == "batch":
            rng = numpy_rng(Stream.MIX, self.seed, step, rank)
            if rng.random() >= self.ratio:
                return replace(batch, images=images, targets=targets)
            images, partners, share = self.joined(images, rng, copied=copied)
        else:
            rng = numpy_rng(Stream.MIX, self.seed, step, rank, PAIRS)
            pairs = draw_pairs(len(images), self.mode, rng)
            count = len(images)
            shares = np.where(rng.random(count) < self.ratio, rng.beta(self.alpha, self.alpha, count), 1.0)[pairs.draws]
            partners = torch.from_numpy(pairs.partners).to(images.device)
            images, share = self.joined_each(images, pairs, shares, rng)
        targets, weights = blend_targets(targets, batch.weights, partners, share)
        return replace(batch, images=images, targets=targets, weights=weights)

    @abstractmethod
    def joined(self, images: Tensor, rng: np.random.Generator, *, copied: bool) -> tuple[Tensor, Tensor, float]:
        """Return the mixed images, the partner of each (N,), and the share that stays.

        Args:
            images: float (N, 3, H, W).
            rng: the only source of randomness.
            copied: whether `images` may be written to.
        """

    @abstractmethod
    def joined_each(self, images: Tensor, pairs: Pairs, shares: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return the images, each mixed with its own partner, and the share of each that stays, (N,), on their device.

        Args:
            images: float (N, 3, H, W), which stay as they are.
            pairs: of the batch.
            shares: that are wanted, float64 (N,); 1 leaves an image as it is.
            rng: the only source of randomness.
        """

    @staticmethod
    def partners(images: Tensor, rng: np.random.Generator) -> Tensor:
        """Return the partner of each image of the batch, (N,)."""
        return torch.from_numpy(rng.permutation(len(images))).to(images.device)
