"""Lookahead (arXiv 1907.08610): k steps forward, then back to a point between the start and the end of them."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer, RAdam

from optim import OPTIMIZERS
from optim.optimizers import ParamGroups, make
from optim.ralamb import Ralamb, adapted
from utils.errors import UserError


class Lookahead(Optimizer):
    """Put around an optimizer, this adds slow weights to it.

    The slow weights start as the weights do. After every `k` steps they move the share `alpha` of the
    way to the fast ones, which go on from there. Groups, defaults and state are those of `base`.

    Args:
        base: makes the fast steps.
        k: fast steps between two slow ones.
        alpha: in (0, 1].
        kind: what checkpoints call it.

    Raises:
        ValueError: k or alpha is out of range.
    """

    def __init__(self, base: Optimizer, *, k: int = 6, alpha: float = 0.5, kind: str | None = None) -> None:
        if not (isinstance(k, int) and k >= 1):
            raise ValueError(f"k {k} is not a number of steps")
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha {alpha} is outside (0, 1]")
        super().__init__(base.param_groups, base.defaults)
        self.base, self.k, self.alpha = base, k, alpha
        self.kind = kind or f"Lookahead({type(base).__name__})"
        self._share()

    def _share(self) -> None:
        self.param_groups = self.base.param_groups
        self.state = self.base.state

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Make a step of the fast weights, and every k-th time one of the slow weights."""
        moved = [param for group in self.param_groups for param in group["params"] if param.grad is not None]
        # The base takes an empty state for a new parameter, so the slow weights join it after its first step.
        starts = {param: param.detach().clone() for param in moved if "slow" not in self.state.get(param, {})}
        loss = self.base.step(closure)  # pyright: ignore[reportArgumentType]
        for param, start in starts.items():
            self.state[param] |= {"slow": start, "fast_steps": 0}
        for param in moved:
            self._advance(param)
        return loss

    def _advance(self, param: Tensor) -> None:
        state = self.state[param]
        state["fast_steps"] += 1
        if state["fast_steps"] % self.k == 0:
            state["slow"].lerp_(param, self.alpha)
            param.copy_(state["slow"])

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the base, with the slow weights among it."""
        return self.base.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Continue from what `state_dict` returned."""
        self.base.load_state_dict(dict(state_dict))
        self._share()


def kind_of(optimizer: Optimizer) -> str:
    """Return the name of an optimizer's algorithm, which a resumed run must share."""
    return optimizer.kind if isinstance(optimizer, Lookahead) else type(optimizer).__name__


def without_lookahead(optimizer: Optimizer) -> Optimizer:
    """Return what makes the fast steps: the optimizer itself, or what Lookahead was put around."""
    return optimizer.base if isinstance(optimizer, Lookahead) else optimizer


def _around(base: Optimizer, ahead: Mapping[str, Any], kind: str | None = None) -> Lookahead:
    try:
        return Lookahead(base, **ahead, kind=kind)
    except ValueError as error:
        raise UserError(f"--opt_args: Lookahead refuses its arguments: {error}") from error


def _parted(opt_args: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of Lookahead and those of its base."""
    ahead = {name: value for name, value in opt_args.items() if name in ("k", "alpha")}
    return ahead, {name: value for name, value in opt_args.items() if name not in ahead}


def build_lookahead(groups: ParamGroups, base: str = "adamw", /, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Lookahead around `base`, another row of OPTIMIZERS or 'my_file.py:build'; what is not k or alpha goes to the base."""
    ahead, rest = _parted(opt_args)
    return _around(OPTIMIZERS.resolve(base)(groups, lr=lr, momentum=momentum, **rest), ahead)


def build_ranger(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """Ranger: rectified Adam with Lookahead and decoupled weight decay."""
    ahead, rest = _parted(opt_args)
    fast = make(RAdam, groups, {"lr": lr, "betas": (momentum, 0.999), "decoupled_weight_decay": True}, rest)
    return _around(fast, ahead, "Ranger")


def build_rangerlars(groups: ParamGroups, *, lr: float, momentum: float, **opt_args: Any) -> Optimizer:
    """RangerLars: Ralamb with Lookahead; weight decay is part of the update whose length is adapted."""
    ahead, rest = _parted(opt_args)
    return _around(make(Ralamb, adapted(groups), {"lr": lr, "betas": (momentum, 0.999)}, rest), ahead, "RangerLars")
