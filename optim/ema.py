"""An exponential moving average of the weights, which often evaluates better (Polyak and Juditsky, 1992)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from utils.errors import UserError


@torch.no_grad()
def ema_update(averages: list[Tensor], currents: list[Tensor], decay: float) -> None:
    """Set every average to decay x average + (1 - decay) x current, in place.

    Args:
        averages: floating-point tensors of any shapes.
        currents: tensors of the same shapes.
        decay: in [0, 1].
    """
    torch._foreach_lerp_(averages, currents, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]


def warm_decay(decay: float, updates: int) -> float:
    """Return the decay of one update: min(decay, (1 + t) / (10 + t)) after t updates, so that the start is soon forgotten."""
    return min(decay, (1 + updates) / (10 + updates))


class Ema:
    """An exponential moving average of a model's parameters and floating-point buffers.

    Parameters and floating-point buffers are averaged alike: batch-norm statistics that are
    averaged with the weights describe the averaged weights. Integer buffers are copied.

    Every method takes the bare model: the one whose names the checkpoint holds.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        """Start from the weights that `model` has now.

        Raises:
            UserError: the decay is not between 0 and 1.
        """
        if not 0 < decay < 1:
            raise UserError(f"--ema {decay} is outside (0, 1); 0.999 is a common choice, leave --ema out to turn it off")
        self._decay = decay
        self._updates = 0
        self._average = {name: value.clone() for name, value in _state(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take one step toward the weights that `model` has now. Nothing waits for the device."""
        current = _state(model)
        floats = [name for name, value in self._average.items() if value.is_floating_point()]
        ema_update([self._average[name] for name in floats], [current[name] for name in floats], warm_decay(self._decay, self._updates))
        for name in self._average.keys() - floats:
            self._average[name].copy_(current[name])
        self._updates += 1

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Let `model` hold the averages inside the block, and exactly its own weights again after it."""
        with temporarily_loaded(model, self._average):
            yield

    @torch.no_grad()
    def take_buffers(self, model: nn.Module) -> None:
        """Hold the buffers of `model`, which has the averages: its batch-norm statistics were measured again."""
        for name, value in model.named_buffers():
            if name in self._average:
                self._average[name].copy_(value)

    def average(self) -> dict[str, Tensor]:
        """Return the averages under the names of the model's state dict (the tensors, not copies)."""
        return dict(self._average)

    def state_dict(self) -> dict[str, Any]:
        """Return plain values and the tensors themselves."""
        return {"updates": self._updates, "average": self.average()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned.

        Raises:
            UserError: the averages belong to another model.
        """
        saved = state["average"]
        fits = saved.keys() == self._average.keys() and all(saved[name].shape == value.shape for name, value in self._average.items())
        if not fits:
            raise UserError("the averaged weights in the checkpoint belong to another model; resume with the --arch that wrote it")
        for name, value in self._average.items():
            value.copy_(saved[name])
        self._updates = state["updates"]


@contextmanager
def temporarily_loaded(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Let `model` hold other weights inside the block, and exactly its own again after it."""
    own = {name: value.clone() for name, value in _state(model).items()}
    _copy(weights, model)
    try:
        yield
    finally:
        _copy(own, model)


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], model: nn.Module) -> None:
    for name, value in _state(model).items():
        value.copy_(values[name])
