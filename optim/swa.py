"""Stochastic weight averaging (arXiv 1803.05407) and greedy soups (arXiv 2203.05482): equal means of weights."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from optim.ema import ema_update
from utils.errors import UserError

Item = TypeVar("Item")
Reached = tuple[float, float]


class Swa:
    """The equal mean of the weights at the ends of the last epochs.

    Parameters and floating-point buffers are averaged; integer buffers are those of the latest epoch. Batch-norm
    statistics of the mean describe no network: estimate them again before the mean is used.

    Args:
        start_step: optimizer steps after which epoch ends count.
        every: optimizer steps in an epoch.
    """

    def __init__(self, *, start_step: int, every: int) -> None:
        self._start, self._every = start_step, every
        self.count = 0
        self._mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, model: nn.Module, steps: int) -> None:
        """Hear that `steps` steps have been made; at an epoch end after the start, add the weights of the bare model."""
        if steps <= self._start or steps % self._every:
            return
        current = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self._mean = mean_with(self._mean, current, self.count)
        self.count += 1

    def average(self) -> dict[str, Tensor]:
        """Return the mean under the names of the model's state dict; empty before the first epoch."""
        return dict(self._mean)

    def state_dict(self) -> dict[str, Any]:
        """Return plain values and the tensors themselves."""
        return {"count": self.count, "mean": self.average()}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Continue from what `state_dict` returned."""
        self.count = state["count"]
        self._mean = {name: value.to(device, copy=True) for name, value in state["mean"].items()}


@torch.no_grad()
def mean_with(mean: Mapping[str, Tensor], more: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return the mean of `count` weights, joined by one more; counters are taken from `more`."""
    if count == 0:
        return dict(more)
    joined = {name: value.clone() for name, value in mean.items()}
    floats = [name for name, value in joined.items() if value.is_floating_point()]
    ema_update([joined[name] for name in floats], [more[name] for name in floats], count / (count + 1))
    return {name: joined[name] if value.is_floating_point() else more[name] for name, value in joined.items()}


def mean_of(weights: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the equal mean of several weights of one model."""
    mean: dict[str, Tensor] = {}
    for count, more in enumerate(weights):
        mean = mean_with(mean, more, count)
    return mean


def start_epoch(start: float, epochs: int) -> int:
    """Return the epoch after which averaging begins: `start` itself, or a share of the run below one.

    Raises:
        UserError: no epoch would be left to average.
    """
    if not start > 0:
        raise UserError(f"--swa {start:g}: give an epoch, or a share of the run below 1 such as 0.75")
    epoch = int(start * epochs) if start < 1 else int(start)
    if epoch >= epochs:
        raise UserError(f"schedule longer than the run: --swa averages the epochs after {epoch}, --epochs is {epochs}; lower it")
    return epoch


def greedy_soup(candidates: Sequence[Item], judge: Callable[[Sequence[Item]], Reached]) -> tuple[list[Item], Reached]:
    """Return the members of the soup and what it reached: the best candidate, and each next one that does no harm.

    Args:
        candidates: best first, at least one.
        judge: what the mean of some of them reaches in validation; higher is better.
    """
    kept = [candidates[0]]
    best = judge(kept)
    for candidate in candidates[1:]:
        reached = judge([*kept, candidate])
        if reached >= best:
            kept, best = [*kept, candidate], reached
    return kept, best
