"""Dilated encoders (arXiv 1511.07122, 1706.05587): the same weights, looked at every few pixels instead of every one.

What had stride 2 loses it, and everything behind it looks twice as far apart. So the dilated network says at every second place exactly
what the published one says at every place of its smaller map.
"""

from typing import Any

import torch
from torch import Tensor, nn

from models.backbone import Backbone
from models.modules import evaluating
from utils.errors import UserError

# Layers that can be dilated, and those that cannot.
DILATABLE = (nn.Conv2d, nn.MaxPool2d)
RIGID = (nn.AvgPool2d, nn.LPPool2d)


def dilate(backbone: Backbone, output_stride: int, *, probe: int, name: str) -> None:
    """Give the last maps of a network this stride, in place.

    Args:
        backbone: any whose strides are those of its convolutions and poolings.
        output_stride: 8 or 16.
        probe: side of the image by which the strides are measured.
        name: for messages.

    Raises:
        UserError: the network makes its maps smaller in another way.
    """
    for layer, stride in _strides(backbone, probe):
        rate = stride // output_stride
        if rate < 1 or (rate == 1 and _pair(layer.stride) == (1, 1)):
            continue
        if isinstance(layer, RIGID):
            raise _refusal(name, output_stride)
        kernel = _pair(layer.kernel_size)
        if isinstance(layer, nn.Conv2d) and layer.stride != (1, 1) and layer.padding == (0, 0) and kernel[0] % 2:
            # What pads its image before a stride of 2 leaves it to the layer without one.
            layer.padding = (kernel[0] // 2, kernel[1] // 2)
        layer.stride = (1, 1)
        if kernel != (1, 1):
            layer.dilation = tuple(rate * each for each in _pair(layer.dilation))
            assert not isinstance(layer.padding, str), "no network of the shelf has its padding by name"
            layer.padding = tuple(rate * each for each in _pair(layer.padding))
    try:
        with evaluating(backbone), torch.no_grad():
            side = backbone.forward_features(torch.zeros(1, 3, probe, probe))[-1].shape[-1]
    except RuntimeError as error:
        raise _refusal(name, output_stride) from error
    if side != probe // output_stride:
        raise _refusal(name, output_stride)


def _strides(backbone: Backbone, probe: int) -> list[tuple[Any, int]]:
    """Return every layer that can have a stride, with that of the map that it reads; layers of pooled vectors are left out."""
    found: list[tuple[Any, int]] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].shape[-1] > 1:
            found.append((layer, probe // inputs[0].shape[-1]))

    layers: list[Any] = [layer for layer in backbone.modules() if isinstance(layer, DILATABLE + RIGID)]
    layers = [layer for layer in layers if not isinstance(layer.padding, str)]
    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        with evaluating(backbone), torch.no_grad():
            backbone.forward_features(torch.zeros(1, 3, probe, probe))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _refusal(name: str, output_stride: int) -> UserError:
    return UserError(
        f"--encoder {name} cannot be dilated to stride {output_stride}: not convolutions make its maps smaller; take another, such as "
        "resnet18 or torchvision/mobilenet_v2, or a decoder that needs none, such as --arch unet"
    )
