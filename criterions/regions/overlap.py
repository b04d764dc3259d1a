"""Overlap of answer and truth, soft: dice (arXiv 1606.04797), jaccard (Rahman and Wang, 2016) and tversky (arXiv 1706.05721)."""

from functools import partial

import torch
from torch import Tensor

from criterions.regions.region import Region, mean_over_present
from utils.errors import UserError

TINY = 1e-7


def overlap_loss(probabilities: Tensor, truth: Tensor, weights: Tensor, *, alpha: float, beta: float, smooth: float) -> Tensor:
    """Return 1 - (hits + s) / (hits + alpha x false alarms + beta x misses + s), the mean over the classes that occur in the batch.

    Hits are the sum of p t over all pixels, false alarms that of p (1 - t), misses that of (1 - p) t. Alpha = beta = 1/2 is the Dice
    coefficient, alpha = beta = 1 the Jaccard index.

    Args:
        probabilities: (N, C, H, W).
        truth: (N, H, W).
        weights: (N, H, W), 0 for pixels that are ignored.
        alpha, beta: weights of false alarms and misses, at least 0.
        smooth: s, at least 0.
    """
    # Sums a class of what its own pixels say: tables (N, C, H, W) of the truth would take most of the time of the loss.
    right = probabilities.gather(1, truth[:, None])[:, 0] * weights
    hits, wanted = (_by_class(each, truth, probabilities.shape[1]) for each in (right, weights.to(right.dtype)))
    answered = torch.einsum("nchw,nhw->c", probabilities, weights.to(probabilities.dtype))
    scores = (hits + smooth) / (hits + alpha * (answered - hits) + beta * (wanted - hits) + smooth).clamp(min=TINY)
    return mean_over_present(1 - scores, wanted > 0)


def _by_class(values: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Return the sum of the values (N, H, W) over the pixels of each class, (C,)."""
    # Rows of pixels first: one sum of millions of them in float32 would lose the last ones.
    rows = torch.arange(truth.shape[0] * truth.shape[1], device=truth.device)
    bins = truth.flatten(0, 1) + classes * rows[:, None]
    return values.new_zeros(len(rows) * classes).index_add(0, bins.flatten(), values.flatten()).view(-1, classes).sum(0)


def tversky(alpha: float = 0.3, beta: float = 0.7, smooth: float = 0.0, factor: float = 1.0) -> Region:
    """Overlap with weights of its own for false alarms and misses: a beta above alpha finds more."""
    for name, value in (("alpha", alpha), ("beta", beta), ("smooth", smooth)):
        if not 0 <= value < float("inf"):
            raise UserError(f"--criterion tversky: {name} {value} must be a number of at least 0")
    return Region(partial(overlap_loss, alpha=alpha, beta=beta, smooth=smooth), factor)


def dice(smooth: float = 0.0, factor: float = 1.0) -> Region:
    """One minus the Dice coefficient."""
    return tversky(0.5, 0.5, smooth / 2, factor)


def jaccard(smooth: float = 0.0, factor: float = 1.0) -> Region:
    """One minus the intersection over union."""
    return tversky(1.0, 1.0, smooth, factor)
