"""Stochastic depth: skip a residual branch for some samples of a batch (arXiv 1603.09382)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def stochastic_depth(branch: Tensor, rate: float) -> Tensor:
    """Set the branch (N, ...) to zero for a share `rate` of the samples; the rest are scaled to keep the mean."""
    keep = 1.0 - rate
    mask = torch.empty(branch.shape[0], *[1] * (branch.ndim - 1), dtype=branch.dtype, device=branch.device)
    return branch * mask.bernoulli_(keep).div_(keep)


def set_rates(branches: Sequence["StochasticDepth"], rate: float, *, parts: int) -> None:
    """Let the rates of all branches of a network climb in equal steps from 0: branch i of n skips with rate x i / parts."""
    for index, branch in enumerate(branches):
        branch.rate = rate * index / max(parts, 1)


class StochasticDepth(nn.Module):
    """`stochastic_depth` in training, the identity in evaluation."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        assert 0 <= rate < 1
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        return stochastic_depth(branch, self.rate) if self.training and self.rate > 0 else branch

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"
