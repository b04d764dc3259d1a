"""GHM-C (Li et al.: Gradient Harmonized Single-stage Detector, arXiv 1811.05181): common gradient sizes count less."""

import torch
import torch.distributed as dist
from torch import Tensor

from criterions.weighters.base import Weighter
from utils.errors import UserError


def bin_numbers(gradients: Tensor, bins: int) -> Tensor:
    """Return the number of the bin of every value, int64 in the shape of `gradients`.

    Bin i holds [i / bins, (i + 1) / bins); the last one holds 1 too.
    """
    # Clamped as integers: not a number becomes some bin here, and stays visible in the loss.
    return (gradients * bins).long().clamp(0, bins - 1)


def count_bins(numbers: Tensor, bins: int) -> Tensor:
    """Return how many values each bin has, int64 (bins,), without waiting for the device."""
    numbers = numbers.flatten()
    return torch.zeros(bins, dtype=torch.int64, device=numbers.device).scatter_add_(0, numbers, torch.ones_like(numbers))


def harmony(moving: Tensor, counts: Tensor) -> Tensor:
    """Return the weight of every bin, N / (a_i x valid bins), (bins,).

    Args:
        moving: a_i, the moving count of every bin.
        counts: values of this batch in every bin; N is their sum, a bin is valid that has some.
    """
    return counts.sum() / (moving * (counts > 0).sum().clamp(min=1))


class GradientHarmony(Weighter):
    """Weighs each class of each sample against the number of those with a gradient of the same size.

    The gradient is that of the logit, |p - t|, of every class for softmax as for sigmoids: the many
    classes that are easily ruled out make small gradients common, and so answers already right count less.

    The counts move in training only: a_i = momentum a_i + (1 - momentum) n_i. They begin at zero,
    as in the paper, so that the first steps and a bin's first appearance weigh up to
    1 / (1 - momentum) times as much. With several processes n_i counts the batches of
    all of them, so all have to call together.

    Args:
        bins: number of bins of the gradient size.
        momentum: of the moving counts, in [0, 1).

    Raises:
        UserError: an argument is out of range.
    """

    moving: Tensor

    def __init__(self, bins: int = 30, momentum: float = 0.75) -> None:
        super().__init__()
        if not isinstance(bins, int) or bins < 1:
            raise UserError(f"--criterion ghm: bins {bins} must be a whole number of at least 1; 30 is the paper's choice")
        if not 0 <= momentum < 1:
            raise UserError(f"--criterion ghm: momentum {momentum} is outside [0, 1); 0.75 is the paper's choice")
        self.bins = bins
        self.momentum = momentum
        self.register_buffer("moving", torch.zeros(bins))

    def forward(self, probabilities: Tensor, targets: Tensor, *, hardness: Tensor) -> Tensor:
        del hardness
        numbers = bin_numbers((probabilities - targets).abs(), self.bins)
        counts = count_bins(numbers, self.bins)
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(counts)
        if self.training:
            self.moving.mul_(self.momentum).add_(counts, alpha=1 - self.momentum)
        # A bin that training never met weighs as if it had been met once.
        weights = harmony(self.moving.clamp(min=1 - self.momentum), counts)
        return weights.to(probabilities.dtype)[numbers]
