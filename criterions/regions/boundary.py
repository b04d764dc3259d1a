"""Boundary loss (Bokhovkin and Burnaev: Boundary Loss for Remote Sensing Imagery Semantic Segmentation, arXiv 1905.07852)."""

from functools import partial

import torch.nn.functional as F
from torch import Tensor

from criterions.regions.region import Region, mean_over_present, members
from utils.errors import UserError

TINY = 1e-7


def boundary_loss(probabilities: Tensor, truth: Tensor, weights: Tensor, *, width: int, reach: int) -> Tensor:
    """Return 1 - F1 of the boundaries of the regions, the mean over the classes that have one in the batch.

    The boundary of a map is where its smallest value near by falls below its own; it is found where the other map has one at most
    (reach - 1) / 2 pixels away. No pixel that is ignored has a boundary.

    Args:
        probabilities: (N, C, H, W).
        truth: (N, H, W).
        weights: (N, H, W).
        width: of the window by which a boundary is found, odd.
        reach: of the window in which it is looked for, odd.
    """
    # Of the truth, ignored pixels belong to no class; an edge against them is none of the picture's.
    known = (weights > 0).to(probabilities.dtype)[:, None]
    near = -F.max_pool2d(-known, width, 1, width // 2)
    counted = near * weights[:, None]
    ours = _boundary(probabilities, width) * counted
    theirs = _boundary(members(truth, probabilities.shape[1]), width) * counted
    answered, wanted = ours.sum((0, 2, 3)), theirs.sum((0, 2, 3))
    precision = (ours * _widened(theirs, reach)).sum((0, 2, 3)) / answered.clamp(min=TINY)
    recall = (theirs * _widened(ours, reach)).sum((0, 2, 3)) / wanted.clamp(min=TINY)
    return mean_over_present(1 - 2 * precision * recall / (precision + recall).clamp(min=TINY), wanted > 0)


def _boundary(values: Tensor, width: int) -> Tensor:
    return F.max_pool2d(1 - values, width, 1, width // 2) - (1 - values)


def _widened(values: Tensor, reach: int) -> Tensor:
    return F.max_pool2d(values, reach, 1, reach // 2)


def boundary(width: int = 3, reach: int = 5, factor: float = 1.0) -> Region:
    """One minus the F1 of boundaries; beside another loss, since it says nothing far from them."""
    for name, value in (("width", width), ("reach", reach)):
        if not (isinstance(value, int) and value >= 3 and value % 2):
            raise UserError(f"--criterion boundary: {name} {value} must be an odd number of pixels, at least 3")
    return Region(partial(boundary_loss, width=width, reach=reach), factor)
