"""MobileNetV3 (arXiv 1905.02244).

Parameter names are torchvision's, so its published weights load as they are. Batch norm has the
published eps 0.001 and momentum 0.01; see models/batchnorm_momentum.py for short training runs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from models.backbone import Backbone, FeatureInfo, checked_width
from models.layers.make_divisible import make_divisible
from models.layers.narrow_normal import narrow_normal
from models.layers.squeeze_excite import squeeze_excite
from models.layers.stochastic_depth import StochasticDepth, set_rates
from models.published import Published
from utils.errors import UserError


@dataclass(frozen=True)
class BlockArch:
    """One inverted residual: the columns of the paper's tables 1 and 2."""

    kernel: int
    expanded: int
    out: int
    se: bool
    hardswish: bool
    stride: int = 1


@dataclass(frozen=True)
class MobileNetV3Arch:
    """The blocks, and the width of the hidden layer of the head."""

    blocks: tuple[BlockArch, ...]
    hidden: int


VARIANTS: dict[str, MobileNetV3Arch] = {
    "mobilenetv3_small": MobileNetV3Arch(
        (
            BlockArch(3, 16, 16, True, False, 2),
            BlockArch(3, 72, 24, False, False, 2),
            BlockArch(3, 88, 24, False, False),
            BlockArch(5, 96, 40, True, True, 2),
            BlockArch(5, 240, 40, True, True),
            BlockArch(5, 240, 40, True, True),
            BlockArch(5, 120, 48, True, True),
            BlockArch(5, 144, 48, True, True),
            BlockArch(5, 288, 96, True, True, 2),
            BlockArch(5, 576, 96, True, True),
            BlockArch(5, 576, 96, True, True),
        ),
        hidden=1024,
    ),
    "mobilenetv3_large": MobileNetV3Arch(
        (
            BlockArch(3, 16, 16, False, False),
            BlockArch(3, 64, 24, False, False, 2),
            BlockArch(3, 72, 24, False, False),
            BlockArch(5, 72, 40, True, False, 2),
            BlockArch(5, 120, 40, True, False),
            BlockArch(5, 120, 40, True, False),
            BlockArch(3, 240, 80, False, True, 2),
            BlockArch(3, 200, 80, False, True),
            BlockArch(3, 184, 80, False, True),
            BlockArch(3, 184, 80, False, True),
            BlockArch(3, 480, 112, True, True),
            BlockArch(3, 672, 112, True, True),
            BlockArch(5, 672, 160, True, True, 2),
            BlockArch(5, 960, 160, True, True),
            BlockArch(5, 960, 160, True, True),
        ),
        hidden=1280,
    ),
}


def relu() -> nn.Module:
    return nn.ReLU(inplace=True)


def conv_norm_act(
    channels: int, out: int, *, kernel: int = 1, stride: int = 1, groups: int = 1, act: Callable[[], nn.Module] | None = None
) -> nn.Sequential:
    """A padded convolution, batch norm and, when given, the activation."""
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    norm = nn.BatchNorm2d(out, eps=0.001, momentum=0.01)
    return nn.Sequential(conv, norm) if act is None else nn.Sequential(conv, norm, act())


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation with the paper's hard sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = make_divisible(channels / 4)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return squeeze_excite(x, self.fc1, expand=self.fc2, act=F.relu, gate=F.hardsigmoid)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, gate, project; a shortcut where the shape stays."""

    def __init__(self, channels: int, arch: BlockArch) -> None:
        super().__init__()
        act = nn.Hardswish if arch.hardswish else relu
        expand = [conv_norm_act(channels, arch.expanded, act=act)] if arch.expanded != channels else []
        depthwise = conv_norm_act(arch.expanded, arch.expanded, kernel=arch.kernel, stride=arch.stride, groups=arch.expanded, act=act)
        gate = [SqueezeExcite(arch.expanded)] if arch.se else []
        self.block = nn.Sequential(*expand, depthwise, *gate, conv_norm_act(arch.expanded, arch.out))
        self.depth = StochasticDepth(0.0)
        self.residual = arch.stride == 1 and channels == arch.out

    def forward(self, x: Tensor) -> Tensor:
        out = self.block(x)
        if self.residual:
            out = self.depth(out)
            out += x
        return out


class MobileNetV3(Backbone):
    """A variant of the table. Maps: the last block at each of the strides 2, 4, 8, 16 and 32.

    The 1x1 convolution after the last block belongs to the head.
    """

    def __init__(self, arch: str, *, num_classes: int, drop_rate: float | None = None) -> None:
        super().__init__()
        self.arch = VARIANTS[arch]
        self.num_classes = checked_width(num_classes)
        blocks, inputs = self.arch.blocks, [16, *(block.out for block in self.arch.blocks)]
        last = inputs[-1]
        self.features = nn.Sequential(
            conv_norm_act(3, 16, kernel=3, stride=2, act=nn.Hardswish),
            *(InvertedResidual(channels, block) for channels, block in zip(inputs, blocks, strict=False)),
            conv_norm_act(last, 6 * last, act=nn.Hardswish),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        dropout = nn.Dropout(0.2 if drop_rate is None else drop_rate)
        self.classifier = nn.Sequential(
            nn.Linear(6 * last, self.arch.hidden), nn.Hardswish(), dropout, nn.Linear(self.arch.hidden, num_classes)
        )
        self._init_weights()
        # A map ends where the next block halves the size, and after the last block.
        strides = [2, *(block.stride for block in blocks), 2]
        self.ends = [index for index, (_, following) in enumerate(pairwise(strides)) if following == 2]
        self.widths = [inputs[end] for end in self.ends]

    def _init_weights(self) -> None:
        """He's normal (arXiv 1502.01852) for convolutions, a narrow normal for the head."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                narrow_normal(module)

    @property
    def feature_info(self) -> list[FeatureInfo]:
        return [FeatureInfo(width, 2 ** (i + 1)) for i, width in enumerate(self.widths)]

    def forward_features(self, x: Tensor) -> list[Tensor]:
        maps = []
        for index, block in enumerate(self.features[:-1]):
            x = block(x)
            if index in self.ends:
                maps.append(x)
        return maps

    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        x = self.avgpool(self.features[-1](maps[-1])).flatten(1)
        return self.classifier[:2](x) if pre_logits else self.classifier(x)

    def set_drop_path(self, rate: float) -> None:
        """Skip branches by timm's rule for this family, which counts the convolution behind the blocks as one more."""
        branches = [block.depth for block in self.features if isinstance(block, InvertedResidual)]
        set_rates(branches, rate, parts=len(branches) + 1)

    def remap(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Refuse timm's weights, which were made for other batch norms or borders."""
        if "conv_stem.weight" in state:
            raise UserError("these are timm's MobileNetV3 weights, made for other batch norms or borders; use --arch timm/NAME")
        return dict(state)

    def get_classifier(self) -> nn.Linear:
        layer = self.classifier[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def init_classifier(self, layer: nn.Linear | nn.Conv2d) -> None:
        narrow_normal(layer)


_URL = "https://download.pytorch.org/models/"

PUBLISHED: dict[str, Published] = {
    "mobilenetv3_small": Published(_URL + "mobilenet_v3_small-047dcff4.pth", license="BSD-3-Clause", top1=67.668),
    "mobilenetv3_large": Published(_URL + "mobilenet_v3_large-5c1a4163.pth", license="BSD-3-Clause", top1=75.274),
}
