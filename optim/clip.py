"""Gradient clipping: by the norm of the whole gradient, by value, or unit by unit (AGC, arXiv 2102.06171)."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from utils.errors import UserError

Clip = Callable[[Sequence[nn.Parameter]], None]

# Weights near zero must still be able to move (the paper's epsilon).
SMALLEST_NORM = 1e-3


def build_clip(mode: str, limit: float, *, head: nn.Module | None = None) -> Clip:
    """Return what clips the gradients of parameters in place. Nothing waits for the device.

    Args:
        mode: 'norm', 'value' or 'agc'.
        limit: largest norm, largest absolute value, or largest share of the norm of a unit's weights.
        head: the classifier, which AGC leaves alone.

    Raises:
        UserError: the limit is not positive.
    """
    if not limit > 0:
        raise UserError(f"--clip_grad {limit} is not a positive limit; leave it out to turn clipping off")
    if mode == "norm":
        return partial(clip_norm, limit=limit)
    if mode == "value":
        return partial(clip_value, limit=limit)
    assert mode == "agc", mode
    spared = {id(param) for param in head.parameters()} if head is not None else set()
    return lambda params: clip_units([param for param in params if id(param) not in spared], limit=limit)


def clip_norm(params: Sequence[nn.Parameter], *, limit: float) -> None:
    """Scale all gradients by one factor, so that their common norm is at most `limit`."""
    nn.utils.clip_grad_norm_(params, limit)


def clip_value(params: Sequence[nn.Parameter], *, limit: float) -> None:
    """Cut every element of the gradients to [-limit, limit]."""
    nn.utils.clip_grad_value_(params, limit)


@torch.no_grad()
def clip_units(params: Sequence[nn.Parameter], *, limit: float) -> None:
    """Scale the gradient of every unit to at most `limit` times the norm of its weights."""
    for param in params:
        if param.grad is not None:
            longest = unit_norms(param).clamp(min=SMALLEST_NORM) * limit
            param.grad.mul_((longest / unit_norms(param.grad).clamp(min=1e-6)).clamp(max=1.0))


def unit_norms(values: Tensor) -> Tensor:
    """Return the norm of every output unit, (units, 1, ...), of a weight; of a bias or scale the norm of all, (1,)."""
    if values.ndim <= 1:
        return values.norm().reshape(values.ndim * (1,))
    return values.flatten(1).norm(dim=1).reshape(-1, *(values.ndim - 1) * (1,))
