"""Penalties that the stepper applies apart from the gradient: sparsity of batch-norm gammas (arXiv 1708.06519)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from utils.errors import UserError


@torch.no_grad()
def soft_threshold(values: Tensor, pull: float) -> None:
    """Move every element by `pull` toward zero, in place, and not past it: the proximal step of an L1 penalty."""
    values.copy_(values.sign() * (values.abs() - pull).clamp(min=0))


def build_sparsity(slim: float) -> Callable[[nn.Module, float], None]:
    """Return the penalty that pulls the gammas of all learning batch norms by `slim` x rate a step.

    Raises:
        UserError: the strength is not positive.
    """
    if not 0 < slim < float("inf"):
        raise UserError(f"--slim {slim} is not a strength; take a positive number such as 5e-4")

    def pull(model: nn.Module, rate: float) -> None:
        for gamma in learning_gammas(model):
            soft_threshold(gamma, slim * rate)

    return pull


def learning_gammas(model: nn.Module) -> list[nn.Parameter]:
    """Return the scales of the batch norms that learn, each (channels,)."""
    return [layer.weight for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.affine and layer.weight.requires_grad]
