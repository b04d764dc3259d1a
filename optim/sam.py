"""Sharpness-aware minimization: descend by the gradient at the worst point nearby (SAM, arXiv 2010.01412). Averages: swa.py."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from utils.errors import UserError


def checked_radius(rho: float) -> float:
    """Return the radius of the neighborhood.

    Raises:
        UserError: it is not positive.
    """
    if not 0 < rho < float("inf"):
        raise UserError(f"--sam {rho} is not a radius; take a positive number, 0.05 is the paper's")
    return rho


@torch.no_grad()
def ascend(params: Sequence[nn.Parameter], rho: float) -> list[torch.Tensor]:
    """Move the weights by `rho` along their gradient; return what they were.

    The direction alone counts, so a scaled gradient (fp16) climbs to the same point.
    """
    before = [param.detach().clone() for param in params]
    grads = [param.grad for param in params if param.grad is not None]
    if grads:
        scale = rho / (nn.utils.get_total_norm(grads) + 1e-12)
        for param in params:
            if param.grad is not None:
                param.add_(param.grad * scale)
    return before


@torch.no_grad()
def undo_ascent(params: Sequence[nn.Parameter], before: Sequence[torch.Tensor]) -> None:
    """Give the weights back exactly what they were."""
    for param, value in zip(params, before, strict=True):
        param.copy_(value)


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Let batch norms normalize as before but record nothing: the second look at a batch counts for nothing."""
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.training and layer.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
