"""Training that knows of 8-bit integers: layers compute in training as a quantized file will (arXiv 1712.05877)."""

from typing import Any

import torch
from torch import Tensor, nn

from utils.errors import UserError

KINDS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
LEVELS = 255
# Weights take the numbers from -127 to 127, so that zero and the signs are exact.
LARGEST_WEIGHT = 127
SMALLEST_STEP = 1e-12


class InEightBits(nn.Module):
    """What a layer becomes: the same class, which in training rounds its input and its weights to 8 bits, and learns through that.

    The names of the weights, and what they compute in evaluation, stay as they were.
    """

    def forward(self, x: Tensor, *others: Any, **named: Any) -> Any:
        if not self.training:
            return super().forward(x, *others, **named)
        weight = self.get_parameter("weight")
        # In front of the parameter of the same name, for this call.
        self.__dict__["weight"] = rounded_weight(weight, 1 if isinstance(self, nn.ConvTranspose2d) else 0)
        try:
            return super().forward(rounded_input(x), *others, **named)
        finally:
            del self.__dict__["weight"]


def rounded_weight(weight: Tensor, axis: int) -> Tensor:
    """Return weights at 255 levels for every output channel, evenly around zero; the gradient passes as if nothing had been done.

    A factor for each channel, such as that of a batch norm behind the layer, may be joined before or after: the result is the same.

    Args:
        weight: of a layer.
        axis: along which its output channels lie.
    """
    values = weight.float()
    largest = values.detach().abs().amax([dim for dim in range(values.dim()) if dim != axis])
    steps = (largest / LARGEST_WEIGHT).clamp(min=SMALLEST_STEP)
    zeros = torch.zeros_like(steps, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(values, steps, zeros, axis, -LARGEST_WEIGHT, LARGEST_WEIGHT).to(weight.dtype)


def rounded_input(x: Tensor) -> Tensor:
    """Return values at 256 levels between the mean of the images' smallest and that of their largest, zero among them.

    What lies beyond is cut off, as by a file whose ranges come from several images; there the gradient is zero.

    Args:
        x: floats (N, ...).
    """
    values = x.float()
    inner = tuple(range(1, values.dim()))
    low = values.detach().amin(inner).mean().clamp(max=0.0)
    high = values.detach().amax(inner).mean().clamp(min=0.0)
    step = ((high - low) / LEVELS).clamp(min=SMALLEST_STEP)
    zero = (-low / step).round().to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(values, step, zero, 0, LEVELS).to(x.dtype)


def train_in_eight_bits(network: nn.Module) -> int:
    """Let the layers of a network know of 8 bits while they learn, in place; return their number.

    Raises:
        UserError: it has none that are written in 8 bits.
    """
    layers: list[nn.Module] = [module for module in network.modules() if isinstance(module, KINDS) and not isinstance(module, InEightBits)]
    if not layers:
        raise UserError("--qat: this network has no convolution and no linear layer; leave it out")
    for layer in layers:
        kind = type(layer)
        # A subclass rather than another forward in the instance, which copies of the layer would share.
        layer.__class__ = type(kind.__name__, (InEightBits, kind), {})
    return len(layers)
