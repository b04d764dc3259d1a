"""The optimizers of torch under one signature."""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RAdam

from optim import OPTIMIZERS
from optim.groups import param_groups
from utils.errors import UserError

Groups = list[dict[str, Any]]


def build_optimizer(name: str, model: nn.Module, *, lr: float, momentum: float, weight_decay: float) -> Optimizer:
    """Build the optimizer `name` over the trainable parameters of `model`.

    Move the model to its device and memory format first.

    Args:
        name: a row of OPTIMIZERS, or 'my_file.py:build' that takes (groups, *, lr, momentum).
        model: the bare model or its wrapper.
        lr: the rate at factor one of the schedule.
        momentum: of sgd; the first beta of the Adam family.
        weight_decay: of everything but norms and biases.

    Raises:
        UserError: a value that no optimizer can use, or a model without trainable parameters.
    """
    if not 0 < lr < float("inf"):
        raise UserError(f"--lr {lr} is no learning rate; take a positive number such as 0.001")
    if not 0 <= momentum < 1:
        raise UserError(f"--momentum {momentum} is outside [0, 1); 0.9 is the usual choice")
    if not 0 <= weight_decay < float("inf"):
        raise UserError(f"--weight_decay {weight_decay} is negative or no number; 0 turns it off")
    build: Callable[..., Optimizer] = OPTIMIZERS.resolve(name)
    return build(param_groups(model, weight_decay), lr=lr, momentum=momentum)


def build_sgd(groups: Groups, *, lr: float, momentum: float) -> Optimizer:
    """Stochastic gradient descent with Nesterov momentum (Sutskever et al., ICML 2013); plain at momentum 0."""
    return SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=can_fuse(groups))


def build_adam(groups: Groups, *, lr: float, momentum: float) -> Optimizer:
    """Adam (arXiv 1412.6980); weight decay is part of the gradient."""
    return Adam(groups, lr=lr, betas=(momentum, 0.999), fused=can_fuse(groups))


def build_adamw(groups: Groups, *, lr: float, momentum: float) -> Optimizer:
    """Adam with decoupled weight decay (arXiv 1711.05101)."""
    return AdamW(groups, lr=lr, betas=(momentum, 0.999), fused=can_fuse(groups))


def build_radam(groups: Groups, *, lr: float, momentum: float) -> Optimizer:
    """Rectified Adam (arXiv 1908.03265) with decoupled weight decay, as its authors run it."""
    return RAdam(groups, lr=lr, betas=(momentum, 0.999), decoupled_weight_decay=True)


def can_fuse(groups: Groups) -> bool:
    """Whether torch has one-pass update kernels for all these parameters: several times faster, on the CPU too."""
    params = [param for group in groups for param in group["params"]]
    return all(param.device.type in ("cpu", "cuda") and param.is_floating_point() for param in params)
