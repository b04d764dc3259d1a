"""GHM-C (Li et al.: Gradient Harmonized Single-stage Detector, arXiv 1811.05181): common gradient sizes count less."""

from typing import ClassVar, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from criterions.weighters.weighter import Weighter
from utils.errors import UserError


def bin_numbers(gradients: Tensor, bins: int) -> Tensor:
    """Return the number of the bin of every value, int64 in the shape of `gradients`.

    Bin i holds [i / bins, (i + 1) / bins); the last one holds 1 too.
    """
    # Clamped as integers: not a number becomes some bin here, and stays visible in the loss.
    return (gradients * bins).long().clamp(0, bins - 1)


def count_bins(numbers: Tensor, bins: int, counted: Tensor) -> Tensor:
    """Return how many values each bin has, int64 (bins,), without waiting for the device.

    Args:
        numbers: of the bins.
        bins: how many there are.
        counted: whether each value counts, in the shape of `numbers`.
    """
    return torch.zeros(bins, dtype=torch.int64, device=numbers.device).scatter_add_(0, numbers.flatten(), counted.flatten().long())


def harmony(density: Tensor, counts: Tensor) -> Tensor:
    """Return the weight of every bin, (bins,): in inverse proportion to a_i, with mean 1 over the values of the batch.

    The paper's N / (a_i x valid bins) is the same where a_i are the counts of the batch; where they lag behind, its mean is not 1.

    Args:
        density: a_i, how many values a batch has in every bin, by the moving counts.
        counts: values of this batch in every bin.
    """
    return counts.sum() / (density * (counts / density).sum().clamp(min=1e-12))


class GradientHarmony(Weighter):
    """Weighs each problem against the number of those with a gradient of the same size.

    A problem is what has a loss term of its own: a sample for softmax, a class of a sample for sigmoids. The size of its
    gradient is its hardness, |p - t| of the true class for softmax with one label.

    The counts move in training only: a_i = momentum a_i + (1 - momentum) n_i. They begin at zero, and are divided by
    1 - momentum^steps, which corrects for it: they are counts of a batch from the first step on, beside which a bin that was never
    met weighs as one met once. With several processes n_i
    counts the batches of all of them, so all have to call together.

    Args:
        bins: number of bins of the gradient size.
        momentum: of the moving counts, in [0, 1).

    Raises:
        UserError: an argument is out of range.
    """

    SCALE: ClassVar[Literal["moving", "batch", "own"]] = "batch"

    # Renamed from 'moving': old checkpoints stored different counts under that name.
    bin_counts: Tensor
    counted: Tensor

    def __init__(self, bins: int = 30, momentum: float = 0.75) -> None:
        super().__init__()
        if not isinstance(bins, int) or bins < 1:
            raise UserError(f"--criterion ghm: bins {bins} must be a whole number of at least 1; 30 is the paper's choice")
        if not 0 <= momentum < 1:
            raise UserError(f"--criterion ghm: momentum {momentum} is outside [0, 1); 0.75 is the paper's choice")
        self.bins = bins
        self.momentum = momentum
        self.register_buffer("bin_counts", torch.zeros(bins))
        # 1 - momentum^steps: what the moving counts would be if every batch had one value.
        self.register_buffer("counted", torch.zeros(()))

    def forward(self, probabilities: Tensor, targets: Tensor, *, hardness: Tensor) -> Tensor:
        del targets
        return self._factors(hardness, record=self.training).to(probabilities.dtype)

    def unrecorded(self, probabilities: Tensor, targets: Tensor, *, hardness: Tensor) -> Tensor:
        """Return the factors by the counts as they are: a batch that is seen again is in them already."""
        del targets
        return self._factors(hardness, record=False).to(probabilities.dtype)

    def _factors(self, hardness: Tensor, *, record: bool) -> Tensor:
        """Return the weight of every problem, in the shape of `hardness`."""
        numbers = bin_numbers(hardness, self.bins)
        counts = count_bins(numbers, self.bins, hardness >= 0)
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(counts)
        if record:
            for moving, new in ((self.bin_counts, counts), (self.counted, torch.ones_like(self.counted))):
                moving.mul_(self.momentum).add_(new, alpha=1 - self.momentum)
        # A bin that training never met weighs as if it had been met once.
        least = 1 - self.momentum
        density = self.bin_counts.clamp(min=least) / self.counted.clamp(min=least)
        return harmony(density, counts)[numbers]
