"""Ralamb: rectified Adam (arXiv 1908.03265) with the layer-wise step sizes of LAMB (arXiv 1904.00962)."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optim.optimizers import ParamGroups, make
from optim.param_groups import DECAYED

LARGEST_NORM = 10.0


def rectification(step: int, beta2: float) -> float | None:
    """Return the factor r of RAdam after `step` steps, or None while the variance is not tractable."""
    longest = 2 / (1 - beta2) - 1
    decayed = beta2**step
    length = longest - 2 * step * decayed / (1 - decayed)
    if length <= 5:
        return None
    return math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))


def trust_ratio(weight: Tensor, update: Tensor) -> Tensor:
    """Return min(|weight|, 10) / |update|, a scalar, or one where either norm is zero. Nothing waits for the device."""
    weight_norm, update_norm = weight.norm().clamp(max=LARGEST_NORM), update.norm()
    return torch.where((weight_norm > 0) & (update_norm > 0), weight_norm / update_norm, torch.ones_like(update_norm))


class Ralamb(Optimizer):
    """RAdam with LAMB's trust ratio: each layer's step has length lr x min(norm of its weights, 10).

    update = r m^ / (sqrt(v^) + eps) + weight decay x weight, or m^ + weight decay x weight while r has no value;
    weight -= lr x trust ratio x update. A group with `adapts` False takes the update as it is.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        adapts: bool = True,
    ) -> None:
        if not (0 <= betas[0] < 1 and 0 <= betas[1] < 1):
            raise ValueError(f"betas {betas} are outside [0, 1)")
        if not eps >= 0:
            raise ValueError(f"eps {eps} is negative")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "adapts": adapts})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the weights by their gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._step_one(param, param.grad, group)
        return loss

    def _step_one(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[param]
        if not state:
            state["step"] = 0
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(param), torch.zeros_like(param)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(grad, 1 - beta1)
        square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        update = mean / (1 - beta1 ** state["step"])
        factor = rectification(state["step"], beta2)
        if factor is not None:
            update.div_((square / (1 - beta2 ** state["step"])).sqrt_().add_(group["eps"])).mul_(factor)
        update.add_(param, alpha=group["weight_decay"])
        if group["adapts"]:
            update.mul_(trust_ratio(param, update))
        param.sub_(update, alpha=group["lr"])


def adapted(groups: ParamGroups) -> ParamGroups:
    """Adapt the step of weights layer by layer; norms and biases take RAdam's step, as is usual with LAMB."""
    return [{**group, "adapts": group["role"] == DECAYED} for group in groups]


def build_ralamb(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Ralamb; weight decay is part of the update whose length is adapted."""
    return make(Ralamb, adapted(groups), {"lr": lr, "betas": (momentum, 0.999)}, opt_args)
