"""Lookahead (arXiv 1907.08610): k steps forward, then back to a point between the start and the end of them."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import SGD, AdamW, Optimizer, RAdam

from optim.optimizers import Groups, can_fuse, make
from optim.ralamb import Ralamb, adapted


class Lookahead(Optimizer):
    """Put before an optimizer class, this adds slow weights to it.

    The slow weights start as the weights do. After every `k` steps they move the share `alpha` of the
    way to the fast ones, which go on from there.
    """

    def __init__(self, params: Any, k: int = 6, alpha: float = 0.5, **base: Any) -> None:
        if not (isinstance(k, int) and k >= 1):
            raise ValueError(f"k {k} is no number of steps")
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha {alpha} is outside (0, 1]")
        super().__init__(params, **base)
        for group in self.param_groups:
            group |= {"k": k, "alpha": alpha}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make a step of the fast weights, and every k-th time one of the slow weights."""
        # The base takes an empty state for a new parameter, so the slow weights join it after its first step.
        starts = {param: param.detach().clone() for param in self._params() if "slow" not in self.state.get(param, {})}
        loss = super().step(closure)  # pyright: ignore[reportArgumentType]
        for param, start in starts.items():
            self.state[param] |= {"slow": start, "fast_steps": 0}
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._advance(param, **{name: group[name] for name in ("k", "alpha")})
        return loss

    def _params(self) -> list[torch.Tensor]:
        return [param for group in self.param_groups for param in group["params"] if param.grad is not None]

    def _advance(self, param: torch.Tensor, *, k: int, alpha: float) -> None:
        state = self.state[param]
        state["fast_steps"] += 1
        if state["fast_steps"] % k == 0:
            state["slow"].lerp_(param, alpha)
            param.copy_(state["slow"])


class Ranger(Lookahead, RAdam):
    """Rectified Adam (arXiv 1908.03265) with Lookahead."""


class RangerLars(Lookahead, Ralamb):
    """Ralamb with Lookahead."""


class LookaheadAdam(Lookahead, AdamW):
    """AdamW with Lookahead."""


class LookaheadSGD(Lookahead, SGD):
    """Nesterov momentum with Lookahead."""


def build_ranger(groups: Groups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Ranger, with decoupled weight decay."""
    return make(Ranger, groups, {"lr": lr, "betas": (momentum, 0.999), "decoupled_weight_decay": True}, opt_args)


def build_rangerlars(groups: Groups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """RangerLars; weight decay is part of the update whose length is adapted."""
    return make(RangerLars, adapted(groups), {"lr": lr, "betas": (momentum, 0.999)}, opt_args)


def build_lookahead_adam(groups: Groups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """LookaheadAdam, with decoupled weight decay."""
    return make(LookaheadAdam, groups, {"lr": lr, "betas": (momentum, 0.999), "fused": can_fuse(groups)}, opt_args)


def build_lookahead_sgd(groups: Groups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """LookaheadSGD: what the paper trains ResNets with."""
    arguments = {"lr": lr, "momentum": momentum, "nesterov": momentum > 0, "fused": can_fuse(groups)}
    return make(LookaheadSGD, groups, arguments, opt_args)
