"""EfficientNet b0 to b8 (arXiv 1905.11946; b8 is of arXiv 1911.09665).

Parameter names are those of timm's tf_efficientnet, whose weights (AutoAugment, b8 RandAugment) exist
for all nine; efficientnet_pytorch's files load through `remap`. Both come from TensorFlow and need what
is built here: its 'same' padding (asymmetric at stride 2 on even sizes) and batch norm with eps 0.001
and momentum 0.01. torchvision's weights were made for symmetric padding and are refused.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbone import Backbone, FeatureInfo, checked_width
from models.layers.make_divisible import make_divisible
from models.layers.squeeze_excite import squeeze_excite
from models.layers.stochastic_depth import StochasticDepth, set_rates
from models.published import Published
from utils.errors import UserError


@dataclass(frozen=True)
class EfficientNetArch:
    """Multipliers of width and depth, and the published dropout before the classifier."""

    width: float
    depth: float
    drop_rate: float


VARIANTS: dict[str, EfficientNetArch] = {
    "efficientnet_b0": EfficientNetArch(1.0, 1.0, 0.2),
    "efficientnet_b1": EfficientNetArch(1.0, 1.1, 0.2),
    "efficientnet_b2": EfficientNetArch(1.1, 1.2, 0.3),
    "efficientnet_b3": EfficientNetArch(1.2, 1.4, 0.3),
    "efficientnet_b4": EfficientNetArch(1.4, 1.8, 0.4),
    "efficientnet_b5": EfficientNetArch(1.6, 2.2, 0.4),
    "efficientnet_b6": EfficientNetArch(1.8, 2.6, 0.5),
    "efficientnet_b7": EfficientNetArch(2.0, 3.1, 0.5),
    "efficientnet_b8": EfficientNetArch(2.2, 3.6, 0.5),
}


@dataclass(frozen=True)
class StageArch:
    """A row of the paper's table 1: expansion, kernel, stride of the first block, channels, blocks."""

    expansion: int
    kernel: int
    stride: int
    channels: int
    repeats: int


STAGES: tuple[StageArch, ...] = (
    StageArch(1, 3, 1, 16, 1),
    StageArch(6, 3, 2, 24, 2),
    StageArch(6, 5, 2, 40, 2),
    StageArch(6, 3, 2, 80, 3),
    StageArch(6, 5, 1, 112, 3),
    StageArch(6, 5, 2, 192, 4),
    StageArch(6, 3, 1, 320, 1),
)
# The stages that end at the strides 2, 4, 8, 16 and 32.
MAP_STAGES = (0, 1, 2, 4, 6)
STOCHASTIC_DEPTH = 0.2


def pad_same(x: Tensor, kernel: int) -> Tensor:
    """Zero borders for a stride-2 convolution of odd `kernel`, as TensorFlow's 'same' padding has them."""
    after = kernel // 2
    # Plain arithmetic, so that a traced network still pads rightly at another size.
    return F.pad(x, (after - 1 + x.shape[-1] % 2, after, after - 1 + x.shape[-2] % 2, after))


class SameConv2d(nn.Conv2d):
    """A convolution with 'same' padding for stride 1 or 2, without bias."""

    def __init__(self, channels: int, out: int, kernel: int, *, stride: int, groups: int = 1) -> None:
        assert stride in (1, 2)
        assert kernel in (3, 5)
        super().__init__(channels, out, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input if self.stride[0] == 1 else pad_same(input, self.kernel_size[0]))


def batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=0.001, momentum=0.01)


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation; the hidden width follows the block's input, not its expansion."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, squeezed, 1)
        self.conv_expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return squeeze_excite(x, self.conv_reduce, expand=self.conv_expand, act=F.silu, gate=torch.sigmoid)


class SeparableBlock(nn.Module):
    """Filter each channel, gate, project: the first stage, which does not expand."""

    def __init__(self, channels: int, stage: StageArch, *, stride: int, out: int) -> None:
        super().__init__()
        self.conv_dw = SameConv2d(channels, channels, stage.kernel, stride=stride, groups=channels)
        self.bn1 = batch_norm(channels)
        self.se = SqueezeExcite(channels, max(1, channels // 4))
        self.conv_pw = nn.Conv2d(channels, out, 1, bias=False)
        self.bn2 = batch_norm(out)
        self.depth = StochasticDepth(0.0)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        out = self.se(F.silu(self.bn1(self.conv_dw(x))))
        out = self.bn2(self.conv_pw(out))
        return self.depth(out).add_(x) if self.residual else out


class InvertedResidual(nn.Module):
    """Expand, filter each channel, gate, project; a shortcut where the shape stays."""

    def __init__(self, channels: int, stage: StageArch, *, stride: int, out: int) -> None:
        super().__init__()
        expanded = channels * stage.expansion
        self.conv_pw = nn.Conv2d(channels, expanded, 1, bias=False)
        self.bn1 = batch_norm(expanded)
        self.conv_dw = SameConv2d(expanded, expanded, stage.kernel, stride=stride, groups=expanded)
        self.bn2 = batch_norm(expanded)
        self.se = SqueezeExcite(expanded, max(1, channels // 4))
        self.conv_pwl = nn.Conv2d(expanded, out, 1, bias=False)
        self.bn3 = batch_norm(out)
        self.depth = StochasticDepth(0.0)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        out = F.silu(self.bn1(self.conv_pw(x)))
        out = self.se(F.silu(self.bn2(self.conv_dw(out))))
        out = self.bn3(self.conv_pwl(out))
        return self.depth(out).add_(x) if self.residual else out


class EfficientNet(Backbone):
    """A variant of the table. Maps: the last block at each of the strides 2, 4, 8, 16 and 32.

    The 1x1 convolution after the last block belongs to the head.
    """

    def __init__(self, arch: str, *, num_classes: int, drop_rate: float | None = None) -> None:
        super().__init__()
        self.arch = VARIANTS[arch]
        self.num_classes = checked_width(num_classes)
        self.stage_widths = [make_divisible(stage.channels * self.arch.width) for stage in STAGES]
        self.stage_depths = [math.ceil(stage.repeats * self.arch.depth) for stage in STAGES]
        stem, head = make_divisible(32 * self.arch.width), make_divisible(1280 * self.arch.width)
        self.conv_stem = SameConv2d(3, stem, 3, stride=2)
        self.bn1 = batch_norm(stem)
        inputs = [stem, *self.stage_widths]
        self.blocks = nn.Sequential(*(self._stage(index, inputs[index]) for index in range(len(STAGES))))
        self.conv_head = nn.Conv2d(inputs[-1], head, 1, bias=False)
        self.bn2 = batch_norm(head)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(self.arch.drop_rate if drop_rate is None else drop_rate)
        self.classifier = nn.Linear(head, num_classes)
        self.set_drop_path(STOCHASTIC_DEPTH)
        self._init_weights()

    def _stage(self, index: int, channels: int) -> nn.Sequential:
        stage, out, depth = STAGES[index], self.stage_widths[index], self.stage_depths[index]
        build = SeparableBlock if stage.expansion == 1 else InvertedResidual
        blocks = [build(channels if i == 0 else out, stage, stride=stage.stride if i == 0 else 1, out=out) for i in range(depth)]
        return nn.Sequential(*blocks)

    def _init_weights(self) -> None:
        """The authors' scheme: normal by fan-out for a group's convolution, uniform for the classifier."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.init_classifier(self.classifier)

    @property
    def feature_info(self) -> list[FeatureInfo]:
        return [FeatureInfo(self.stage_widths[index], 2 ** (i + 1)) for i, index in enumerate(MAP_STAGES)]

    def forward_features(self, x: Tensor) -> list[Tensor]:
        x = F.silu(self.bn1(self.conv_stem(x)))
        maps = []
        for index, stage in enumerate(self.blocks):
            x = stage(x)
            if index in MAP_STAGES:
                maps.append(x)
        return maps

    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        x = F.silu(self.bn2(self.conv_head(maps[-1])))
        x = self.avgpool(x).flatten(1)
        return x if pre_logits else self.classifier(self.dropout(x))

    def set_drop_path(self, rate: float) -> None:
        """Skip branches by the authors' rule: block i of n with rate x i / n."""
        branches = [block.depth for block in self.modules() if isinstance(block, SeparableBlock | InvertedResidual)]
        set_rates(branches, rate, parts=len(branches))

    def get_classifier(self) -> nn.Linear:
        return self.classifier

    def init_classifier(self, layer: nn.Linear | nn.Conv2d) -> None:
        """Even draws, by the authors' rule as it is for the 1,000 classes of ImageNet: few classes would begin at extreme answers."""
        bound = 1 / math.sqrt(max(layer.weight.shape[0], 1000))
        assert layer.bias is not None
        nn.init.uniform_(layer.weight, -bound, bound)
        nn.init.zeros_(layer.bias)

    def remap(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take efficientnet_pytorch's names to this network's; refuse torchvision's weights."""
        if "features.0.0.weight" in state:
            raise UserError(
                "these are torchvision's EfficientNet weights, made for symmetric padding; "
                "use --arch torchvision/NAME for them, or the weights of timm's tf_efficientnet here"
            )
        if "_conv_stem.weight" not in state:
            return dict(state)
        return {self._own_name(name): tensor for name, tensor in state.items()}

    def _own_name(self, name: str) -> str:
        """'_blocks.1._expand_conv.weight' -> 'blocks.1.0.conv_pw.weight'."""
        if not name.startswith("_blocks."):
            part, _, rest = name.partition(".")
            return f"{_OUTER_NAMES.get(part, part)}.{rest}"
        _, number, part, rest = name.split(".", 3)
        stage, block = 0, int(number)
        while stage < len(self.stage_depths) and block >= self.stage_depths[stage]:
            block -= self.stage_depths[stage]
            stage += 1
        names = _SEPARABLE_NAMES if stage == 0 else _INVERTED_NAMES
        return f"blocks.{stage}.{block}.{names.get(part, part)}.{rest}"


# Names of efficientnet_pytorch -> names here.
_OUTER_NAMES = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_GATE_NAMES = {"_depthwise_conv": "conv_dw", "_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_SEPARABLE_NAMES = {**_GATE_NAMES, "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_INVERTED_NAMES = {**_GATE_NAMES, "_expand_conv": "conv_pw", "_bn0": "bn1", "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}

_URL = "https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-weights/"


# Claims are those of timm, measured with its conversions of the same files.
def _published(file: str, side: int, top1: float) -> Published:
    return Published(_URL + file, size=(side, side), interpolation="bicubic", license="Apache-2.0", top1=top1)


PUBLISHED: dict[str, Published] = {
    "efficientnet_b0": _published("tf_efficientnet_b0_aa-827b6e33.pth", 224, 76.834),
    "efficientnet_b1": _published("tf_efficientnet_b1_aa-ea7a6ee0.pth", 240, 78.83),
    "efficientnet_b2": _published("tf_efficientnet_b2_aa-60c94f97.pth", 260, 80.084),
    "efficientnet_b3": _published("tf_efficientnet_b3_aa-84b4657e.pth", 300, 81.644),
    "efficientnet_b4": _published("tf_efficientnet_b4_aa-818f208c.pth", 380, 83.018),
    "efficientnet_b5": _published("tf_efficientnet_b5_aa-99018a74.pth", 456, 83.688),
    "efficientnet_b6": _published("tf_efficientnet_b6_aa-80ba17e4.pth", 528, 84.116),
    "efficientnet_b7": _published("tf_efficientnet_b7_aa-076e3472.pth", 600, 84.414),
    "efficientnet_b8": _published("tf_efficientnet_b8_ra-572d5dd9.pth", 672, 85.368),
}

_ADVPROP_URL = "https://github.com/lukemelas/EfficientNet-PyTorch/releases/download/1.0/"


def _advprop(file: str, side: int, top1: float) -> Published:
    half = (0.5, 0.5, 0.5)
    size = (side, side)
    return Published(_ADVPROP_URL + file, mean=half, std=half, size=size, interpolation="bicubic", license="Apache-2.0", top1=top1)


# Trained with adversarial examples (AdvProp, arXiv 1911.09665), on pixels from -1 to 1: --advprop.
ADVPROP: dict[str, Published] = {
    "efficientnet_b0": _advprop("adv-efficientnet-b0-b64d5a18.pth", 224, 77.09),
    "efficientnet_b1": _advprop("adv-efficientnet-b1-0f3ce85a.pth", 240, 79.28),
    "efficientnet_b2": _advprop("adv-efficientnet-b2-6e9d97e5.pth", 260, 80.308),
    "efficientnet_b3": _advprop("adv-efficientnet-b3-cdd7c0f4.pth", 300, 81.826),
    "efficientnet_b4": _advprop("adv-efficientnet-b4-44fb3a87.pth", 380, 83.25),
    "efficientnet_b5": _advprop("adv-efficientnet-b5-86493f6b.pth", 456, 84.258),
    "efficientnet_b6": _advprop("adv-efficientnet-b6-ac80338e.pth", 528, 84.786),
    "efficientnet_b7": _advprop("adv-efficientnet-b7-4652b6dd.pth", 600, 85.122),
    "efficientnet_b8": _advprop("adv-efficientnet-b8-22a8fe65.pth", 672, 85.364),
}
