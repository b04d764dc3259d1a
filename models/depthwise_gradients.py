"""Gradients of depthwise convolutions in bf16 on a CPU, in fp32 where there is no fast kernel for bf16.

oneDNN answers two of their gradients in bf16 by its reference kernel, up to a hundred times as slowly as in fp32: that of the input of a
convolution with a stride, and that of the weights of a kernel of 5 or more. Of a training step of mobilenetv3_large they are half
(`python -m benchmarks.depthwise`). Forward passes stay what they are, to the bit.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layer_changes import change

# The smallest kernel whose weights have a slow gradient.
WIDE = 5


class DepthwiseGradients(nn.Conv2d):
    """What a depthwise convolution becomes: the same class, with gradients of its own under bf16 autocast on a CPU."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        narrow = input.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        if not narrow or not torch.is_grad_enabled():
            return super()._conv_forward(input, weight, bias)
        # Cast out here: a second derivative follows the input only as far as it is given to the function.
        return _Depthwise.apply(input.bfloat16(), weight, bias, self.stride, self.padding)


def speed_up_depthwise_gradients(network: nn.Module) -> int:
    """Give the depthwise convolutions of a network fast gradients in bf16, in place; return how many have changed, none a second time."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and not isinstance(layer, DepthwiseGradients)]
    slow = [layer for layer in layers if is_slow(layer)]
    for layer in slow:
        change(layer, DepthwiseGradients)
    return len(slow)


def is_slow(layer: nn.Conv2d) -> bool:
    """Return whether a gradient of this convolution in bf16 is left to the reference kernel."""
    plain = layer.padding_mode == "zeros" and not isinstance(layer.padding, str) and set(layer.dilation) == {1}
    return plain and 1 < layer.groups == layer.in_channels == layer.out_channels and (max(layer.stride) > 1 or _is_wide(layer.weight))


def _is_wide(weight: Tensor) -> bool:
    return max(weight.shape[2:]) >= WIDE


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution of bf16 whose slow gradients are computed in fp32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.biased = stride, padding, bias is not None
        return F.conv2d(x, weight.bfloat16(), None if bias is None else bias.bfloat16(), stride, padding, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        of_input, of_weight, of_bias = ctx.needs_input_grad[:3]
        wide = gradient.float() if max(ctx.stride) > 1 or _is_wide(weight) else gradient

        def asked(gradient: Tensor, x: Tensor, weight: Tensor, mask: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
            shape = (ctx.stride, ctx.padding, (1, 1), False, (0, 0), x.shape[1])
            return torch.ops.aten.convolution_backward(gradient, x, weight, None, *shape, mask)

        found_input = found_weight = None
        if of_input and max(ctx.stride) > 1:
            # Of the input only the shape is looked at.
            found_input = asked(wide, torch.empty_like(x, dtype=wide.dtype), weight.float(), [True, False, False])[0]
        elif of_input:
            found_input = asked(gradient, x, weight.bfloat16(), [True, False, False])[0]
        if of_weight and _is_wide(weight):
            found_weight = asked(wide, x.float(), weight.float(), [False, True, False])[1]
        elif of_weight:
            found_weight = asked(gradient, x, weight.bfloat16(), [False, True, False])[1]
        found_bias = wide.sum((0, 2, 3)) if ctx.biased and of_bias else None
        return found_input, found_weight, found_bias, None, None
