"""The semantic branch of panoptic feature pyramid networks (arXiv 1901.02446)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.necks.fpn import FPN
from models.necks.neck import Neck
from utils.errors import UserError

GROUPS = 32


class SemanticFPN(Neck):
    """An FPN whose maps are enlarged step by step to the size of the largest and added: one map, for a mask.

    Args:
        info: the maps that enter; the one that comes out has the stride of the first, 4 in the paper.
        channels: its width, a multiple of 32.
        fpn_channels: width of the FPN.
        inner: kind of the FPN, see there.

    Raises:
        UserError: maps that do not halve, or a width that 32 groups do not divide.
    """

    def __init__(self, info: Sequence[FeatureInfo], channels: int = 128, *, fpn_channels: int = 256, inner: bool = False) -> None:
        super().__init__()
        if channels % GROUPS:
            raise UserError(f"semantic_fpn: channels={channels}; give a multiple of {GROUPS}, the groups of its norm")
        self.fpn = FPN(info, fpn_channels, inner=inner)
        self.feature_info = [FeatureInfo(channels, info[0].stride)]
        # The largest map has one step and stays as it is; of the others each has a step for every doubling.
        steps = [1, *range(1, len(info))]
        self.branches = nn.ModuleList(
            nn.Sequential(*(_step(fpn_channels if i == 0 else channels, channels) for i in range(count))) for count in steps
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        pyramid = self.fpn(maps)
        total = pyramid[0]
        for level, branch in enumerate(self.branches):
            x = pyramid[level]
            for i, step in enumerate(branch):  # pyright: ignore[reportArgumentType]
                x = step(x)
                if level > 0:
                    x = F.interpolate(x, size=pyramid[level - 1 - i].shape[-2:], mode="bilinear", align_corners=False)
            total = x if level == 0 else total + x
        return [total]


def _step(channels: int, out: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, out, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.GroupNorm(GROUPS, out), nn.ReLU(inplace=True))
