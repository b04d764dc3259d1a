"""The layers of YOLOX (arXiv 2107.08430), under the names of its published weights."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Of its batch norms.
EPS, MOMENTUM = 1e-3, 0.03
# Sides of the max pools.
POOLS = (5, 9, 13)


class ConvUnit(nn.Module):
    """A convolution, batch norm and SiLU, (N, C, H, W) -> (N, out, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, *, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, (kernel - stride + 1) // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=EPS, momentum=MOMENTUM)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class SeparableUnit(nn.Module):
    """A convolution of every channel, then one of all channels, each with batch norm and SiLU."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.dconv = ConvUnit(channels, channels, kernel, stride, groups=channels)
        self.pconv = ConvUnit(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pconv(self.dconv(x))


def conv_unit(channels: int, out: int, kernel: int, stride: int = 1, *, depthwise: bool) -> ConvUnit | SeparableUnit:
    """Return a convolution that is separable or not."""
    return SeparableUnit(channels, out, kernel, stride) if depthwise else ConvUnit(channels, out, kernel, stride)


class Bottleneck(nn.Module):
    """A 1x1 and a 3x3 convolution, with a shortcut or without."""

    def __init__(self, channels: int, *, shortcut: bool, depthwise: bool) -> None:
        super().__init__()
        self.conv1 = ConvUnit(channels, channels, 1)
        self.conv2 = conv_unit(channels, channels, 3, depthwise=depthwise)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        return x + y if self.shortcut else y


class CrossStage(nn.Module):
    """Half of the channels take `depth` bottlenecks, the others go past them (arXiv 1911.11929)."""

    def __init__(self, channels: int, out: int, depth: int, *, shortcut: bool, depthwise: bool) -> None:
        super().__init__()
        half = out // 2
        self.conv1 = ConvUnit(channels, half, 1)
        self.conv2 = ConvUnit(channels, half, 1)
        self.conv3 = ConvUnit(2 * half, out, 1)
        self.m = nn.Sequential(*(Bottleneck(half, shortcut=shortcut, depthwise=depthwise) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        worked, past = self.conv1(x), self.conv2(x)
        return self.conv3(torch.cat((self.m(worked), past), dim=1))


class PoolPyramid(nn.Module):
    """The map and its max pools of 5, 9 and 13 pixels, between two 1x1 convolutions (arXiv 1406.4729)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = ConvUnit(channels, half, 1)
        self.conv2 = ConvUnit((len(POOLS) + 1) * half, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        return self.conv2(torch.cat([x, *(F.max_pool2d(x, side, 1, side // 2) for side in POOLS)], dim=1))


class Patches(nn.Module):
    """The first layer: every 2x2 pixels to one, seen through 3x3 of those.

    The publishers move the four pixels to channels first; this is the same as a convolution of 6x6 pixels at every second place.
    """

    def __init__(self, out: int) -> None:
        super().__init__()
        self.conv = ConvUnit(3, out, 6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)
