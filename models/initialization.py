"""Starting weights by name: a row of INITS turns the weights of convolutions and linear layers into fresh draws of one scheme."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from models import INITS
from utils.errors import UserError, nearest
from utils.registry import is_user_code
from utils.spec import parse_specs

Fill = Callable[..., Any]

FANS = ("fan_in", "fan_out")


def xavier(weight: Tensor, *, gain: float = 1.0) -> None:
    """Draw from a normal of variance gain^2 x 2 / (inputs + outputs)."""
    nn.init.xavier_normal_(weight, gain=gain)


def xavier_uniform(weight: Tensor, *, gain: float = 1.0) -> None:
    """Draw evenly, with the variance of `xavier`."""
    nn.init.xavier_uniform_(weight, gain=gain)


def kaiming(weight: Tensor, *, mode: str = "fan_out") -> None:
    """Draw from a normal of variance 2 / fan."""
    nn.init.kaiming_normal_(weight, mode=_fan(mode), nonlinearity="relu")  # pyright: ignore[reportArgumentType]


def kaiming_uniform(weight: Tensor, *, mode: str = "fan_out") -> None:
    """Draw evenly, with the variance of `kaiming`."""
    nn.init.kaiming_uniform_(weight, mode=_fan(mode), nonlinearity="relu")  # pyright: ignore[reportArgumentType]


def orthogonal(weight: Tensor, *, gain: float = 1.0) -> None:
    """Draw a matrix (outputs, inputs) whose rows, or columns where they are fewer, are orthogonal and `gain` long."""
    nn.init.orthogonal_(weight, gain=gain)


def normal(weight: Tensor, *, std: float = 0.01) -> None:
    """Draw from a normal around zero."""
    nn.init.normal_(weight, std=_spread(std))


def trunc_normal(weight: Tensor, *, std: float = 0.02) -> None:
    """Draw from a normal around zero, cut at two standard deviations."""
    nn.init.trunc_normal_(weight, std=_spread(std), a=-2 * std, b=2 * std)


def _fan(mode: str) -> str:
    if mode not in FANS:
        raise UserError(f"--init kaiming: mode={mode} is none of {', '.join(FANS)}")
    return mode


def _spread(std: float) -> float:
    if not 0 < std < float("inf"):
        raise UserError(f"--init: std={std} is not a standard deviation; give a positive number")
    return std


def initialize(model: nn.Module, source: str) -> str:
    """Draw the weights of all convolutions and linear layers again and set their biases to zero; return one line that says so.

    Norms, embeddings and scales keep what their family gives them.

    Args:
        model: changed in place.
        source: a row of INITS with its arguments, such as 'kaiming(mode=fan_in)', or 'my_file.py:fill' that takes
            (weight, ...) and writes into it.

    Raises:
        UserError: the name or an argument cannot be used.
    """
    specs = parse_specs(source)
    if len(specs) != 1:
        raise UserError(f"--init {source}: write one scheme, such as xavier")
    spec = specs[0]
    fill: Fill = INITS.resolve(spec.name)
    layers = [module for module in model.modules() if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)]
    known = [item.name for item in inspect.signature(fill).parameters.values() if item.kind is item.KEYWORD_ONLY]
    for name in spec.kwargs:
        if name not in known and not is_user_code(spec.name):
            raise UserError(f"--init {spec.name} has no '{name}'.{nearest(name, known)} It takes: {', '.join(known)}")
    for layer in layers:
        try:
            fill(layer.weight.data, *spec.args, **spec.kwargs)
        except TypeError as error:
            raise UserError(f"--init {spec}: these arguments make no weights; write numbers with their names ({error})") from error
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return f"--init {spec}: {len(layers)} convolutions and linear layers drawn again, biases 0; norms as they were"
