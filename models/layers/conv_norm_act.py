"""Convolution, batch norm and activation, the unit that Darknet, VoVNet and the necks are built of."""

from collections import OrderedDict
from collections.abc import Callable

from torch import nn


def relu() -> nn.Module:
    return nn.ReLU(inplace=True)


class ConvNormAct(nn.Sequential):
    """A convolution without bias, its norm and its activation, (N, C, H, W) -> (N, out, ceil(H / stride), ceil(W / stride)).

    The border is as wide as keeps that size for odd kernels, and for even kernels of stride 2 on even sizes.

    Args:
        channels: C.
        act: builds the activation; None leaves it out.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        groups: int = 1,
        act: Callable[[], nn.Module] | None = relu,
    ) -> None:
        padding = (kernel - stride + 1) // 2
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv=nn.Conv2d(channels, out, kernel, stride, padding, groups=groups, bias=False), norm=nn.BatchNorm2d(out)
        )
        if act is not None:
            layers["act"] = act()
        super().__init__(layers)
        nn.init.kaiming_normal_(layers["conv"].weight, mode="fan_out", nonlinearity="relu")  # pyright: ignore[reportArgumentType]
