"""Quantization-aware training: convolutions and linear layers that compute with numbers rounded to 8 bits (arXiv 1712.05877).

Rounding is that of exported files: weights symmetric, a range for each output channel, inputs with a range for each tensor, the mean over
images of their least and largest values. A batch norm behind a layer scales whole output channels, so rounding before it is rounding of
what the file holds, where both are joined. Gradients pass as if nothing had been rounded, but for what was cut off.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.layer_changes import change
from utils.networks.first_conv import first_conv, input_channels

# Steps of weights on either side of zero; those of the first convolution have 7 bits in files, for processors that would overflow.
STEPS, FIRST_STEPS = 127.0, 63.5
INPUT_STEPS = 255
# Part of a batch in the ranges that evaluation rounds by.
MOMENTUM = 0.1
# The least range of a channel, as a share of the largest one's.
LEAST_SHARE = 1e-6
TINY = 1e-30


@dataclass
class Underway:
    """What is on its way through a network, of which all its layers know.

    Attributes:
        images: how many, as the layer that is called first has found.
    """

    images: int = 1


class FakeQuantized(nn.Module):
    """What a layer becomes: the same class, with a rounded weight and a rounded input.

    In training an input is rounded by its own range, and a moving average of these is recorded, by which evaluation rounds.

    Attributes:
        input_range: (2,), the least and the largest input; NaN before the first batch. It is no part of the state dict.
        weight_steps: of weights, on either side of zero.
        is_first: whether the network calls it before the others.
        underway: shared by the layers of a network.
    """

    input_range: Tensor
    weight_steps: float
    is_first: bool
    underway: Underway

    @property
    def weight(self) -> Tensor:
        """The rounded weight; the parameter itself learns."""
        return rounded_weight(self._parameters["weight"], self.weight_steps)

    def forward(self, input: Tensor, *others: Any, **named: Any) -> Tensor:
        if self.is_first:
            self.underway.images = len(input)
        if self.training:
            limits = image_range(input.detach(), self.underway.images)
            with torch.no_grad():
                self.input_range.copy_(moving_average(self.input_range, limits))
        elif self.input_range.isnan().any():
            return super().forward(input, *others, **named)
        else:
            limits = self.input_range
        return super().forward(rounded_input(input, limits), *others, **named)


def rounded_weight(weight: Tensor | None, steps: float) -> Tensor:
    """Return a weight (out, ...) in whole steps, so many on either side of zero, of a size for each of its first axis."""
    assert weight is not None
    largest = weight.detach().float().abs().flatten(1).amax(1)
    scale = torch.maximum(largest, LEAST_SHARE * largest.max()).clamp_min(TINY) / steps
    zeros = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight.float(), scale, zeros, 0, -math.ceil(steps), math.ceil(steps))


def image_range(x: Tensor, images: int) -> Tensor:
    """Return the mean over images of their least and largest values, (2,), of x (images, ...) or of parts of images (images x parts, ...).

    An infinite value is cut off as others are that lie beyond the range: the range is that of the other images. What is no number makes
    the range none, so that the loss shows it.
    """
    if len(x) % images == 0:
        x = x.unflatten(0, (images, -1))
    rest = tuple(range(1, x.ndim))
    limits = torch.stack([x.amin(rest), x.amax(rest)]).float()
    counting = ~limits.isinf()
    return limits.where(counting, 0.0).sum(1) / counting.sum(1)


def moving_average(before: Tensor, limits: Tensor) -> Tensor:
    """Return a recorded range (2,) after a batch of this range; a batch that has none leaves it as it was."""
    after = torch.where(before.isnan(), limits, before.lerp(limits, MOMENTUM))
    return torch.where(limits.isfinite().all(), after, before)


def rounded_input(x: Tensor, limits: Tensor) -> Tensor:
    """Return x in 255 steps from the least to the largest of the limits (2,), of which zero is one, in fp32.

    Where zero would lie between two steps, they grow until it is one, and both limits are still inside. From limits that are no
    number comes none.
    """
    low, high = limits.clamp_max(0)[0].neg(), limits.clamp_min(0)[1]
    zero = (low / ((low + high) / INPUT_STEPS).clamp_min(TINY)).round().clamp(0, INPUT_STEPS)
    below = torch.where(zero > 0, low / zero.clamp_min(1), 0.0)
    above = torch.where(zero < INPUT_STEPS, high / (INPUT_STEPS - zero).clamp_min(1), 0.0)
    scale = torch.maximum(below, above).clamp_min(TINY).where(~limits.isnan().any(), torch.nan)
    return torch.fake_quantize_per_tensor_affine(x.float(), scale, zero.nan_to_num().to(torch.int32), 0, INPUT_STEPS)


class Rounding(NamedTuple):
    """How many layers of a network round, and of how many others it uses the weights by itself, without a call that could round."""

    layers: int
    others: int


def fake_quantize(network: nn.Module, image_size: tuple[int, int]) -> Rounding:
    """Let the convolutions and linear layers of a network compute in rounded numbers, in place; return how many there are.

    Names of weights, and what of them is saved, stay. Batch norms rest: files hold their statistics as full precision has measured them,
    and those of rounded numbers would make the network worse in full precision.

    Args:
        network: on the CPU, in any mode.
        image_size: height and width of images that it takes, to see which layers it calls.
    """
    for norm in network.modules():
        if isinstance(norm, _BatchNorm):
            norm.requires_grad_(False)
    layers, called = rounding_layers(network), called_layers(network, image_size)
    underway, first = Underway(), first_conv(network)
    for name in called:
        _let_round(layers[name], underway)
        layers[name].is_first = name == called[0]
        if first is not None and layers[name] is first[1]:
            layers[name].weight_steps = FIRST_STEPS
    attentions = sum(isinstance(module, nn.MultiheadAttention) for module in network.modules())
    return Rounding(len(called), len(layers) - len(called) + attentions)


def rounding_layers(network: nn.Module) -> dict[str, Any]:
    """Return the layers that could round, by their names."""
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}


def called_layers(network: nn.Module, image_size: tuple[int, int]) -> list[str]:
    """Return the names of the layers that a network calls in training, in this order, by a copy of it that rounds."""
    trial, called = copy.deepcopy(network).train(), []
    for name, layer in rounding_layers(trial).items():
        _let_round(layer, Underway())
        layer.register_forward_pre_hook(lambda *_, name=name: called.append(name))
    for norm in trial.modules():
        if isinstance(norm, _BatchNorm):
            # As in training; those that count over processes take nothing from a CPU otherwise.
            norm.eval()
    with torch.no_grad(), torch.random.fork_rng([]):
        trial(torch.zeros(2, input_channels(network), *image_size))
    return list(dict.fromkeys(called))


def _let_round(layer: Any, underway: Underway) -> None:
    change(layer, FakeQuantized)
    layer.register_buffer("input_range", torch.full((2,), torch.nan), persistent=False)
    layer.weight_steps, layer.is_first, layer.underway = STEPS, False, underway


def input_ranges(network: nn.Module) -> dict[str, Tensor]:
    """Return the recorded ranges of a network's layers, by their names; none of a network that does not round."""
    return {name: layer.input_range for name, layer in network.named_modules() if isinstance(layer, FakeQuantized)}


def load_input_ranges(network: nn.Module, ranges: Mapping[str, Tensor]) -> None:
    """Go on with ranges that `input_ranges` gave."""
    for name, layer in network.named_modules():
        if isinstance(layer, FakeQuantized):
            layer.input_range.copy_(ranges[name])
