"""Lovász-softmax (Berman et al.: The Lovász-Softmax loss, arXiv 1705.08790): the intersection over union itself, made differentiable."""

import torch
from torch import Tensor

from criterions.regions.region import Region, mean_over_present, members


def lovasz_loss(probabilities: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Return the Lovász extension of 1 - IoU at the errors |t - p| of all pixels, the mean over the classes that occur in the batch.

    Errors of a pixel are multiplied by its weight, so that those of ignored ones are 0 and have no say.

    Args:
        probabilities: (N, C, H, W).
        truth: (N, H, W).
        weights: (N, H, W).
    """
    counted = weights > 0
    wanted = (members(truth, probabilities.shape[1]) * counted[:, None]).movedim(1, 0).flatten(1)
    rows = probabilities.movedim(1, 0).flatten(1)
    errors, order = ((wanted - rows).abs() * weights.flatten()).sort(dim=1, descending=True)
    with torch.no_grad():
        steps = _growth(wanted.gather(1, order))
    return mean_over_present((errors * steps).sum(1), wanted.sum(1) > 0)


def _growth(wanted: Tensor) -> Tensor:
    """Return by how much 1 - IoU grows with each further wrong pixel, (C, P), for pixels from the worst to the best."""
    # Counts above 2^24 do not fit into float32.
    total = wanted.sum(1, keepdim=True, dtype=torch.float64)
    hit = total - wanted.cumsum(1, dtype=torch.float64)
    union = total + (1 - wanted).cumsum(1, dtype=torch.float64)
    lost = 1 - hit / union.clamp(min=1)
    return torch.diff(lost, dim=1, prepend=torch.zeros_like(total)).to(wanted.dtype)


def lovasz(factor: float = 1.0) -> Region:
    """The Lovász-softmax loss."""
    return Region(lovasz_loss, factor)
