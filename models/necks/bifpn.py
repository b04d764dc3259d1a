"""Bidirectional feature pyramid network (EfficientDet, arXiv 1911.09070)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.layers.conv_norm_act import ConvNormAct
from models.necks.neck import Neck, enlarged, halved, halving, same_width
from utils.errors import UserError


class Sum(nn.Module):
    """The sum of maps of one size."""

    def forward(self, maps: list[Tensor]) -> Tensor:
        out = maps[0]
        for i in range(1, len(maps)):
            out = out + maps[i]
        return out


class WeightedSum(nn.Module):
    """The mean of maps of one size by learned weights: relu(w) / (sum of relu(w) + eps)."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(count))
        self.eps = 1e-4

    def forward(self, maps: list[Tensor]) -> Tensor:
        weights = F.relu(self.weight)
        weights = weights / (weights.sum() + self.eps)
        out = maps[0] * weights[0]
        for i in range(1, len(maps)):
            out = out + maps[i] * weights[i]
        return out


class Node(nn.Module):
    """Maps of one size to one: joined, then convolved."""

    def __init__(self, count: int, channels: int, *, weighted: bool, separable: bool) -> None:
        super().__init__()
        self.join = WeightedSum(count) if weighted else Sum()
        if separable:
            depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
            self.conv = nn.Sequential(depthwise, ConvNormAct(channels, channels, 1))
        else:
            self.conv = ConvNormAct(channels, channels)

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.conv(self.join(maps))


class BiFPNLayer(nn.Module):
    """One way down and one way up over maps of equal width; between the ends, the way up also sees what entered."""

    def __init__(self, levels: int, channels: int, *, weighted: bool, separable: bool) -> None:
        super().__init__()
        counts = [3] * (levels - 2) + [2]
        self.downward = nn.ModuleList(Node(2, channels, weighted=weighted, separable=separable) for _ in range(levels - 1))
        self.upward = nn.ModuleList(Node(count, channels, weighted=weighted, separable=separable) for count in counts)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        top = len(maps) - 1
        # The smallest first.
        tops = [maps[top]]
        for i, node in enumerate(self.downward):
            entered = maps[top - 1 - i]
            tops.append(node([entered, enlarged(tops[i], entered)]))
        outputs = [tops[top]]
        for i, node in enumerate(self.upward):
            level = i + 1
            inputs = [maps[level]]
            if level < top:
                inputs.append(tops[top - level])
            inputs.append(halved(outputs[i], maps[level]))
            outputs.append(node(inputs))
        return outputs


class BiFPN(Neck):
    """Layers of a way down and a way up, one after the other, after 1x1 convolutions to one width.

    Args:
        info: the maps that enter; as many come out, at the same strides.
        channels: width of all maps that come out.
        layers: how often down and up; the paper has 3 for its smallest detector.
        weighted: join maps by learned weights; else add them.
        separable: a depthwise and a 1x1 convolution after each join; else one 3x3 convolution.

    Raises:
        UserError: maps that do not halve, or no layer.
    """

    def __init__(
        self, info: Sequence[FeatureInfo], channels: int = 64, *, layers: int = 1, weighted: bool = True, separable: bool = True
    ) -> None:
        super().__init__()
        info = halving(info, neck="bifpn")
        if layers < 1:
            raise UserError(f"bifpn: layers={layers}; give 1 or more")
        self.feature_info = same_width(info, channels)
        self.laterals = nn.ModuleList(ConvNormAct(each.channels, channels, 1, act=None) for each in info)
        self.layers = nn.ModuleList(BiFPNLayer(len(info), channels, weighted=weighted, separable=separable) for _ in range(layers))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        outputs: list[Tensor] = []
        for i, lateral in enumerate(self.laterals):
            outputs.append(lateral(maps[i]))
        for layer in self.layers:
            outputs = layer(outputs)
        return outputs
