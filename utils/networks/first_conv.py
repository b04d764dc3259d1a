"""What an image enters first in a network."""

from torch import nn


def first_conv(model: nn.Module) -> tuple[str, nn.Conv2d] | None:
    """Return name and layer of the convolution that is registered first, which by custom the images enter; None without one."""
    return next(((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d)), None)


def input_channels(model: nn.Module) -> int:
    """Return how many channels the images of a network have; 3 where it has no convolution."""
    found = first_conv(model)
    return 3 if found is None else found[1].in_channels
