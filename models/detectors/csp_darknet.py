"""The body of YOLOX: a cross-stage Darknet (arXiv 2004.10934) and a path aggregation network (arXiv 1803.01534)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.detectors.yolox_blocks import ConvUnit, CrossStage, Patches, PoolPyramid, conv_unit


class CSPDarknet(nn.Module):
    """Images (N, 3, H, W) -> maps of strides 8, 16 and 32."""

    def __init__(self, depth: float, width: float, *, depthwise: bool) -> None:
        super().__init__()
        base, blocks = int(width * 64), max(round(depth * 3), 1)
        self.stem = Patches(base)
        stages = []
        for stage, times in enumerate((1, 3, 3, 1)):
            channels, last = base * 2**stage, stage == 3
            out = 2 * channels
            middle = [PoolPyramid(out)] if last else []
            body = CrossStage(out, out, blocks * times, shortcut=not last, depthwise=depthwise)
            stages.append(nn.Sequential(conv_unit(channels, out, 3, 2, depthwise=depthwise), *middle, body))
        self.dark2, self.dark3, self.dark4, self.dark5 = stages

    def forward(self, x: Tensor) -> list[Tensor]:
        fine = self.dark3(self.dark2(self.stem(x)))
        middle = self.dark4(fine)
        return [fine, middle, self.dark5(middle)]


class PathAggregation(nn.Module):
    """The Darknet, then its maps joined on the way down and up again: (N, 3, H, W) -> maps of strides 8, 16 and 32.

    Attributes:
        info: channels and strides of the maps.
    """

    def __init__(self, depth: float, width: float, *, depthwise: bool) -> None:
        super().__init__()
        fine, middle, coarse = (int(channels * width) for channels in (256, 512, 1024))
        blocks = round(3 * depth)

        def joined(channels: int, out: int) -> CrossStage:
            return CrossStage(channels, out, blocks, shortcut=False, depthwise=depthwise)

        self.backbone = CSPDarknet(depth, width, depthwise=depthwise)
        self.lateral_conv0 = ConvUnit(coarse, middle, 1)
        self.C3_p4 = joined(2 * middle, middle)
        self.reduce_conv1 = ConvUnit(middle, fine, 1)
        self.C3_p3 = joined(2 * fine, fine)
        self.bu_conv2 = conv_unit(fine, fine, 3, 2, depthwise=depthwise)
        self.C3_n3 = joined(2 * fine, middle)
        self.bu_conv1 = conv_unit(middle, middle, 3, 2, depthwise=depthwise)
        self.C3_n4 = joined(2 * middle, coarse)
        self.info = [FeatureInfo(fine, 8), FeatureInfo(middle, 16), FeatureInfo(coarse, 32)]

    def forward(self, x: Tensor) -> list[Tensor]:
        fine, middle, coarse = self.backbone(x)
        coarse = self.lateral_conv0(coarse)
        middle = self.reduce_conv1(self.C3_p4(torch.cat((_doubled(coarse), middle), dim=1)))
        fine = self.C3_p3(torch.cat((_doubled(middle), fine), dim=1))
        middle = self.C3_n3(torch.cat((self.bu_conv2(fine), middle), dim=1))
        coarse = self.C3_n4(torch.cat((self.bu_conv1(middle), coarse), dim=1))
        return [fine, middle, coarse]


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
