"""Spatial pyramid pooling for maps of any size: SPP (arXiv 1406.4729, in the form of YOLOv3) and SPPF of YOLOv5."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.backbone import FeatureInfo
from models.layers.conv_norm_act import ConvNormAct
from models.necks.neck import Neck
from utils.errors import UserError


class SpatialPyramid(Neck):
    """The last map, looked at through windows of several sizes; the others pass unchanged.

    A 1x1 convolution to half the width, the map and its three max pools joined, and a 1x1 convolution.

    Args:
        info: the maps that enter; as many come out.
        channels: width of the last map that comes out; None keeps it.
        kernel: side of the smallest window, odd; the others are 2 and 3 times as far: 5, 9, 13.

    Raises:
        UserError: an even kernel.
    """

    def __init__(self, info: Sequence[FeatureInfo], channels: int | None = None, *, kernel: int = 5) -> None:
        super().__init__()
        if kernel < 3 or kernel % 2 == 0:
            raise UserError(f"spp: kernel={kernel}; give an odd number from 3 on")
        last = info[-1]
        out, half = channels or last.channels, last.channels // 2
        self.kernel = kernel
        self.feature_info = [*info[:-1], FeatureInfo(out, last.stride)]
        self.reduce = ConvNormAct(last.channels, half, 1)
        self.join = ConvNormAct(4 * half, out, 1)

    @abstractmethod
    def pools(self, x: Tensor) -> list[Tensor]:
        """Return three max pools of x (N, C, h, w), of its size."""

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        x = self.reduce(maps[-1])
        return maps[:-1] + [self.join(torch.cat([x] + self.pools(x), dim=1))]  # noqa: RUF005  TorchScript does not unpack lists


class SPP(SpatialPyramid):
    """Three pools side by side."""

    def pools(self, x: Tensor) -> list[Tensor]:
        reach = self.kernel // 2
        return [F.max_pool2d(x, 2 * times * reach + 1, 1, times * reach) for times in range(1, 4)]


class SPPF(SpatialPyramid):
    """The same pools, one after the other: a window over windows is a larger window."""

    def pools(self, x: Tensor) -> list[Tensor]:
        reach = self.kernel // 2
        first = F.max_pool2d(x, self.kernel, 1, reach)
        second = F.max_pool2d(first, self.kernel, 1, reach)
        return [first, second, F.max_pool2d(second, self.kernel, 1, reach)]
