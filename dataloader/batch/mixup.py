"""Blend pairs of images and their targets (Zhang et al.: mixup, Beyond Empirical Risk Minimization, arXiv 1710.09412)."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dataloader.batch.targets import to_dense
from dataloader.sample import Batch
from utils.errors import UserError
from utils.randomness import Stream, numpy_rng


def blend(values: Tensor, partners: Tensor, share: float) -> Tensor:
    """Return share * values + (1 - share) * values[partners], for float values (N, ...)."""
    return torch.lerp(values[partners], values, share)


def check_mix(name: str, alpha: float, ratio: float) -> None:
    """Raise UserError for numbers that no mix can have."""
    if not 0 < alpha < float("inf"):
        raise UserError(f"--{name}_alpha {alpha}: write a number above 0")
    if not 0 <= ratio <= 1:
        raise UserError(f"--mixup_ratio {ratio}: write a probability from 0 to 1")


@dataclass(frozen=True)
class Mixup:
    """A batch transform: with probability `ratio` every sample is blended with another one of its batch.

    Images become float32 in 0..255 and targets probabilities, mixed or not, so that the model always sees one type.

    Attributes:
        alpha: both parameters of the Beta distribution of the blending share.
        ratio: probability that a batch is mixed.
        num_classes: width of the targets.
        seed: with step and rank, the only source of randomness.
    """

    alpha: float
    ratio: float
    num_classes: int
    seed: int

    def __post_init__(self) -> None:
        check_mix("mixup", self.alpha, self.ratio)

    def __call__(self, batch: Batch, step: int, rank: int) -> Batch:
        """Return the blended batch, on the device of the given one.

        The sample weights are blended as the targets are; indices stay those of the first partner.
        """
        images = batch.images.float()
        targets = to_dense(batch.targets, self.num_classes)
        rng = numpy_rng(Stream.MIX, self.seed, step, rank)
        if rng.random() >= self.ratio:
            return replace(batch, images=images, targets=targets)
        share = float(rng.beta(self.alpha, self.alpha))
        partners = torch.from_numpy(rng.permutation(len(batch))).to(images.device)
        return replace(
            batch,
            images=blend(images, partners, share),
            targets=blend(targets, partners, share),
            weights=blend(batch.weights, partners, share),
        )
