"""How weights and maps of a network lie in memory: channels last where that is faster, which is measured, not taken for granted."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from models import full_name

_RESNEST = ("resnest*", "timm/resnest*")
# Kind of device -> shell patterns of networks that train more slowly with channels last: ResNeSt took 2.6 times as long on a GPU, and 1.15
# times on a CPU in bf16. A network that is not named here is as fast with it, or faster, or was not measured.
SLOWER_CHANNELS_LAST: Mapping[str, tuple[str, ...]] = MappingProxyType({"cuda": _RESNEST, "cpu": _RESNEST})


def is_slower_channels_last(arch: str, device: torch.device) -> bool:
    """Whether a network, or what is built on it, trains more slowly with channels last on such a device."""
    name = full_name(arch)
    return any(fnmatchcase(name, pattern) for pattern in SLOWER_CHANNELS_LAST.get(device.type, ()))


def lay_out(net: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    """Lay out the weights of a network so, and the images that it is called with; return it.

    Images come from files as channels last, and a convolution follows its image: weights alone would change nothing.
    """
    net.to(memory_format=memory_format)  # pyright: ignore[reportCallIssue]
    if memory_format == torch.contiguous_format:
        net.register_forward_pre_hook(_with_rows)
    return net


def _with_rows(net: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what the network is called with, its images in rows of pixels."""
    del net
    images, *others = inputs
    return images.contiguous(), *others
