"""Noise on the learning rate: a random factor for every epoch, a function of the seed and the epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from utils.errors import UserError
from utils.randomness import Stream, torch_generator


@dataclass(frozen=True)
class RateNoise:
    """Multiplies the rate of every epoch in a part of the run by 1 + n, n normal, drawn again while it is beyond the limit.

    Attributes:
        limit: of n, in (0, 1).
        begin, end: shares of the run between which the rate is shaken.
        seed: of the run.
    """

    limit: float
    begin: float = 0.0
    end: float = 1.0
    seed: int = 0

    def __call__(self, step: float, *, epochs: int, steps_per_epoch: int) -> float:
        """Return the factor at a step: the same throughout an epoch, 1 outside of the part that is shaken."""
        epoch = int(step // steps_per_epoch)
        if not self.begin <= epoch / epochs < self.end:
            return 1.0
        generator = torch_generator(Stream.RATE, self.seed, epoch)
        while abs(drawn := float(torch.randn((), generator=generator))) >= self.limit:
            pass
        return 1 + drawn


def read_noise(values: Sequence[float], *, seed: int) -> RateNoise | None:
    """Read --lr_noise LIMIT [FROM [UNTIL]]; nothing means none.

    Raises:
        UserError: too many numbers, or one out of range.
    """
    if not values:
        return None
    shown = f"--lr_noise {' '.join(f'{value:g}' for value in values)}"
    if len(values) > 3:
        raise UserError(f"{shown}: write the limit, and the shares of the run from and until which it holds: --lr_noise 0.3 0.4 0.9")
    limit, *part = values
    if not 0 < limit < 1:
        raise UserError(f"{shown}: the limit is a share of the rate between 0 and 1; 0.3 is a start")
    noise = RateNoise(limit, *part, seed=seed)
    if not 0 <= noise.begin < noise.end <= 1:
        raise UserError(f"{shown}: from and until are shares of the run, ascending from 0 to 1")
    return noise
