"""VoVNet (arXiv 1904.09730) and VoVNetV2 (arXiv 1911.06667), whose names end with _ese.

They are the networks of vision-toolbox, whose weights they take. All blocks have a shortcut where the width stays, and the gate
of V2 stands in every block, not in the last one of a stage; the first stage begins with a max pool, so that the stem's map has
stride 2; the slim networks' second stage is 128 wide.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.layers.conv_norm_act import ConvNormAct
from models.layers.pooled_classifier import PooledClassifier
from models.layers.stochastic_depth import StochasticDepth, set_rates
from models.published import Published

STEM = 128


@dataclass(frozen=True)
class VoVNetArch:
    """Blocks a stage, 3x3 convolutions a block, half the width or not, and the gate of V2."""

    depths: tuple[int, ...]
    convs: int = 5
    slim: bool = False
    gated: bool = False

    @property
    def mids(self) -> tuple[int, ...]:
        """Channels of the 3x3 convolutions, a stage each."""
        return (64, 80, 96, 112) if self.slim else (128, 160, 192, 224)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the stages' maps."""
        return (128, 256, 384, 512) if self.slim else (256, 512, 768, 1024)


VARIANTS: dict[str, VoVNetArch] = {
    "vovnet27_slim": VoVNetArch((1, 1, 1, 1), slim=True),
    "vovnet39": VoVNetArch((1, 1, 2, 2)),
    "vovnet57": VoVNetArch((1, 1, 4, 3)),
    "vovnet19_slim_ese": VoVNetArch((1, 1, 1, 1), convs=3, slim=True, gated=True),
    "vovnet19_ese": VoVNetArch((1, 1, 1, 1), convs=3, gated=True),
    "vovnet39_ese": VoVNetArch((1, 1, 2, 2), gated=True),
    "vovnet57_ese": VoVNetArch((1, 1, 4, 3), gated=True),
    "vovnet99_ese": VoVNetArch((1, 3, 9, 3), gated=True),
}


class EffectiveSqueezeExcite(nn.Module):
    """Squeeze-and-excitation by one layer that keeps the width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.linear(x.mean((2, 3), keepdim=True)))


class OneShotAggregation(nn.Module):
    """A chain of 3x3 convolutions; its input and all its outputs are joined once, at its end."""

    def __init__(self, channels: int, mid: int, out: int, *, convs: int, gated: bool) -> None:
        super().__init__()
        self.convs = nn.ModuleList(ConvNormAct(channels if i == 0 else mid, mid) for i in range(convs))
        self.out_conv = ConvNormAct(channels + convs * mid, out, 1)
        self.ese = EffectiveSqueezeExcite(out) if gated else nn.Identity()
        self.depth = StochasticDepth(0.0)
        self.residual = channels == out

    def forward(self, x: Tensor) -> Tensor:
        outputs = [x]
        for conv in self.convs:
            outputs.append(conv(outputs[-1]))
        out = self.ese(self.out_conv(torch.cat(outputs, dim=1)))
        return x + self.depth(out) if self.residual else out


class VoVNet(PooledClassifier):
    """A variant of the table. Maps: the stem at stride 2, then the four stages at 4, 8, 16 and 32."""

    def __init__(self, arch: str, *, num_classes: int, drop_rate: float | None = None) -> None:
        super().__init__()
        self.arch = VARIANTS[arch]
        half = STEM // 2
        self.stem = nn.Sequential(ConvNormAct(3, half, stride=2), ConvNormAct(half, half), ConvNormAct(half, STEM))
        inputs = (STEM, *self.arch.widths)
        self.stages = nn.ModuleList(self._stage(index, inputs[index]) for index in range(len(self.arch.widths)))
        self.add_head(self.arch.widths[-1], num_classes=num_classes, drop_rate=drop_rate or 0.0)

    def _stage(self, index: int, channels: int) -> nn.Sequential:
        arch, stage = self.arch, nn.Sequential(nn.MaxPool2d(3, 2, 1))
        for _ in range(arch.depths[index]):
            out = arch.widths[index]
            stage.append(OneShotAggregation(channels, arch.mids[index], out, convs=arch.convs, gated=arch.gated))
            channels = out
        return stage

    @property
    def feature_info(self) -> list[FeatureInfo]:
        return [FeatureInfo(width, 2 ** (i + 1)) for i, width in enumerate((STEM, *self.arch.widths))]

    def forward_features(self, x: Tensor) -> list[Tensor]:
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps

    def set_drop_path(self, rate: float) -> None:
        """Skip branches by timm's rule for this family: block i of n with rate x i / (n - 1), where it has a shortcut."""
        branches = [block.depth for block in self.modules() if isinstance(block, OneShotAggregation)]
        set_rates(branches, rate, parts=len(branches) - 1)

    def remap(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take vision-toolbox's names of blocks and norms to this network's."""
        return {_own_name(name): tensor for name, tensor in state.items()}


def _own_name(name: str) -> str:
    """'stages.2.module_0.convs.1.bn.weight' -> 'stages.2.1.convs.1.norm.weight'; the max pool is the stage's first layer here."""
    parts = ["norm" if part == "bn" else part for part in name.split(".")]
    return ".".join(str(int(part.removeprefix("module_")) + 1) if part.startswith("module_") else part for part in parts)


_URL = "https://github.com/gau-nernst/vision-toolbox/releases/download/v0.0.1/"


def _published(file: str, top1: float) -> Published:
    # They were trained on pixels from 0 to 1, without normalization; their publisher names no license.
    return Published(_URL + file, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), top1=top1)


PUBLISHED: dict[str, Published] = {
    "vovnet27_slim": _published("vovnet27_slim-dd43306a.pth", 71.6),
    "vovnet39": _published("vovnet39-4c79d629.pth", 78.2),
    "vovnet57": _published("vovnet57-ecb9cc34.pth", 79.3),
    "vovnet19_slim_ese": _published("vovnet19_slim_ese-f8075640.pth", 70.8),
    "vovnet19_ese": _published("vovnet19_ese-a077657e.pth", 75.4),
    "vovnet39_ese": _published("vovnet39_ese-9ce81b0d.pth", 78.1),
    "vovnet57_ese": _published("vovnet57_ese-ae1a7f89.pth", 79.2),
    "vovnet99_ese": _published("vovnet99_ese-713f3062.pth", 80.7),
}
