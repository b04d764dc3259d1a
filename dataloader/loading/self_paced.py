"""Self-paced learning: easy images first, harder ones as the run goes on (Kumar, Packer, Koller: NIPS 2010)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from utils.errors import UserError


def easiest(losses: Tensor, share: float) -> Tensor:
    """Return 1 for the `share` of the images with the lowest losses, else 0, float32 (N,).

    Images whose loss is not known yet (nan) count, and so do ties with the last one.

    Args:
        losses: (N,).
        share: in [0, 1], of the images whose loss is known.
    """
    known = losses[~losses.isnan()]
    if len(known) == 0:
        return torch.ones_like(losses, dtype=torch.float32)
    place = min(len(known), max(1, round(share * len(known))))
    limit = known.sort().values[place - 1]
    return (losses.isnan() | (losses <= limit)).float()


@dataclass(frozen=True)
class SelfPaced:
    """The share of images that count rises from `start` to all after `until` of the run; in the first epoch all count.

    Attributes:
        start: share of the images in the beginning.
        until: share of the run after which all images count.
        momentum: of the running loss of an image.
    """

    start: float = 0.5
    until: float = 0.7
    momentum: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.start <= 1:
            raise UserError(f"selfpaced: start is {self.start}; write a share above 0, up to 1")
        if not 0 < self.until <= 1:
            raise UserError(f"selfpaced: until is {self.until}; write a share of the run above 0, up to 1")
        if not 0 <= self.momentum < 1:
            raise UserError(f"selfpaced: momentum is {self.momentum}; write a number from 0 up to, not including, 1")

    def share(self, done: float) -> float:
        """Return the share of the images that count after the part `done`, in [0, 1], of the run."""
        return min(1.0, self.start + (1 - self.start) * done / self.until)

    def weights(self, losses: Tensor, done: float) -> Tensor:
        """Return the weight of every image, float32 (N,), for its running loss; nan is an unknown loss."""
        return easiest(losses, self.share(done))
