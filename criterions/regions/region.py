"""What every region loss is, and how a spec names one."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from criterions import REGION_LOSSES
from utils.errors import UserError
from utils.spec import Spec

# (probabilities (N, C, H, W), classes int64 (N, H, W) with 0 where a pixel is ignored, weights of the pixels (N, H, W)) -> scalar.
RegionTerms = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Region:
    """A region loss.

    Attributes:
        loss: 0 where everything is right, about 1 where nothing is; 0 where no pixel counts.
        factor: of the loss in the sum.
    """

    loss: RegionTerms
    factor: float = 1.0


def members(truth: Tensor, classes: int) -> Tensor:
    """Return whether each pixel belongs to each class, float32 (N, C, H, W)."""
    return (truth[:, None] == torch.arange(classes, device=truth.device)[:, None, None]).float()


def mean_over_present(values: Tensor, present: Tensor) -> Tensor:
    """Return the mean of the values (C,) of the classes that occur; 0 where none does."""
    return torch.where(present, values, 0.0).sum() / present.sum().clamp(min=1)


def build_region(spec: Spec) -> Region:
    """Return the region loss that `spec` names, such as 'dice' or 'tversky(alpha=0.3, beta=0.7)'.

    Raises:
        UserError: an argument cannot be used.
    """
    build: Callable[..., Any] = REGION_LOSSES.resolve(spec.name)
    signature = inspect.signature(build)
    try:
        signature.bind(*spec.args, **spec.kwargs)
        region = build(*spec.args, **spec.kwargs)
        fits = 0 < region.factor < float("inf")
    except TypeError as error:
        usage = ", ".join(f"{item.name}={item.default}" for item in signature.parameters.values())
        raise UserError(f"--criterion {spec}: {error}; write {spec.name}({usage})") from error
    if not fits:
        raise UserError(f"--criterion {spec}: the factor {region.factor} must be a number above 0")
    return region
