"""What is done to any nn.Module: evaluation mode for a while, its last layer, another module in a place."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every module has its own mode again."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def last_layer(net: nn.Module) -> str | None:
    """Name of the linear or convolution layer registered last, by custom the classifier."""
    names = [name for name, module in net.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return names[-1] if names else None


def widened(layer: nn.Linear | nn.Conv2d, outputs: int) -> nn.Linear | nn.Conv2d:
    """A fresh layer like `layer` with this many outputs, on its device and in its type."""
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        fresh = nn.Linear(layer.in_features, outputs, bias=bias)
    else:
        assert layer.groups == 1
        assert isinstance(layer.padding, tuple)
        kernel, stride, padding = layer.kernel_size, layer.stride, layer.padding
        fresh = nn.Conv2d(layer.in_channels, outputs, kernel, stride, padding, bias=bias)  # pyright: ignore[reportArgumentType]
    return fresh.to(layer.weight)


def replace_module(net: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` at the dotted `name` of `net`."""
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, module)
