"""Squeeze-and-excitation: a gate for every channel, from the mean of all (arXiv 1709.01507)."""

from collections.abc import Callable

from torch import Tensor, nn


def squeeze_excite(
    x: Tensor, reduce: nn.Conv2d, *, expand: nn.Conv2d, act: Callable[[Tensor], Tensor], gate: Callable[[Tensor], Tensor]
) -> Tensor:
    """Scale the channels of x (N, C, H, W) by gate(expand(act(reduce(mean of x)))), which is (N, C, 1, 1)."""
    pooled = x.mean((2, 3), keepdim=True)
    return x * gate(expand(act(reduce(pooled))))
