"""ResNet with identity mappings (arXiv 1603.05027): batch norm and ReLU stand before each convolution, not behind it.

The small depths are those of a comparison on Caltech-256; resnet_50 is the paper's, with the stride in the 3x3 convolution.
The variants bn_conv_relu have the order of that comparison's program: batch norm, convolution with bias, ReLU. There the image itself is
normalized by a batch norm, branches add nothing negative, and no norm stands before the head. Names of tensors are those of
timm's resnetv2, so its weights load.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.layers.narrow_normal import narrow_normal
from models.layers.pooled_classifier import PooledClassifier
from models.layers.stochastic_depth import StochasticDepth, set_rates
from models.published import Published

STEM_WIDTH = 64


@dataclass(frozen=True)
class PreActArch:
    """Channels and blocks of the four stages, and whether ReLU follows its convolution."""

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    relu_last: bool = False


SMALL, LARGE = (128, 256, 512, 1024), (256, 512, 1024, 2048)
PAPER: dict[str, PreActArch] = {
    "resnet_20": PreActArch(SMALL, (1, 2, 2, 1)),
    "resnet_26": PreActArch(SMALL, (2, 2, 2, 2)),
    "resnet_29": PreActArch(SMALL, (2, 2, 3, 2)),
    "resnet_38": PreActArch(SMALL, (3, 3, 4, 2)),
    "resnet_50": PreActArch(LARGE, (3, 4, 6, 3)),
}
VARIANTS: dict[str, PreActArch] = {**PAPER, **{f"{name}_bn_conv_relu": replace(arch, relu_last=True) for name, arch in PAPER.items()}}


class PreActBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, a quarter as wide inside; where the shape changes the shortcut takes what they take."""

    def __init__(self, channels: int, out: int, *, stride: int, bias: bool = False) -> None:
        super().__init__()
        width = out // 4
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 1, bias=bias)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=bias)
        self.norm3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=bias)
        self.downsample: nn.ModuleDict | None = None
        if stride > 1 or channels != out:
            self.downsample = nn.ModuleDict({"conv": nn.Conv2d(channels, out, 1, stride, bias=bias)})
        self.depth = StochasticDepth(0.0)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x), inplace=True)
        identity = x if self.downsample is None else self.downsample["conv"](active)
        x = self.conv1(active)
        x = self.conv2(F.relu(self.norm2(x), inplace=True))
        x = self.conv3(F.relu(self.norm3(x), inplace=True))
        return self.depth(x) + identity


class ReluLastBlock(PreActBlock):
    """The same in the order batch norm, convolution with bias, ReLU; the shortcut takes the map as it comes."""

    def __init__(self, channels: int, out: int, *, stride: int) -> None:
        super().__init__(channels, out, stride=stride, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample["conv"](x)
        x = F.relu(self.conv1(self.norm1(x)), inplace=True)
        x = F.relu(self.conv2(self.norm2(x)), inplace=True)
        x = F.relu(self.conv3(self.norm3(x)), inplace=True)
        return self.depth(x) + identity


class PreActResNet(PooledClassifier):
    """A variant of the table. Maps: the stem at stride 2, then the four stages at 4, 8, 16 and 32.

    The last map is the one the head averages, behind the last norm and ReLU where the order has them.
    """

    def __init__(self, arch: str, *, num_classes: int, drop_rate: float | None = None) -> None:
        super().__init__()
        self.arch = VARIANTS[arch]
        last = self.arch.relu_last
        widths, depths = self.arch.widths, self.arch.depths
        self.stem = nn.ModuleDict({"norm": nn.BatchNorm2d(3) if last else nn.Identity()})
        self.stem["conv"] = nn.Conv2d(3, STEM_WIDTH, 7, 2, 3, bias=last)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        block = ReluLastBlock if last else PreActBlock
        self.stages = nn.ModuleList()
        for index, ((channels, out), depth) in enumerate(zip(pairwise((STEM_WIDTH, *widths)), depths, strict=True)):
            first = block(channels, out, stride=1 if index == 0 else 2)
            rest = (block(out, out, stride=1) for _ in range(depth - 1))
            self.stages.append(nn.ModuleDict({"blocks": nn.Sequential(first, *rest)}))
        self.norm = nn.Identity() if last else nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True))
        self.add_head(widths[-1], num_classes=num_classes, drop_rate=drop_rate or 0.0)
        self._init_weights()

    def _init_weights(self) -> None:
        """Xavier's normal (Glorot and Bengio, 2010) for convolutions, a narrow normal for the classifier."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.init_classifier(self.fc)

    @property
    def feature_info(self) -> list[FeatureInfo]:
        return [FeatureInfo(STEM_WIDTH, 2), *(FeatureInfo(width, 4 * 2**i) for i, width in enumerate(self.arch.widths))]

    def forward_features(self, x: Tensor) -> list[Tensor]:
        x = self.stem["conv"](self.stem["norm"](x))
        if self.arch.relu_last:
            x = F.relu(x)
        maps = [x]
        x = self.maxpool(x)
        for stage in self.stages:
            assert isinstance(stage, nn.ModuleDict)
            x = stage["blocks"](x)
            maps.append(x)
        maps[-1] = self.norm(maps[-1])
        return maps

    def set_drop_path(self, rate: float) -> None:
        """Skip branches by timm's rule for this family: not the first block's, the last one's with `rate`."""
        branches = [block.depth for block in self.modules() if isinstance(block, PreActBlock)]
        set_rates(branches, rate, parts=len(branches) - 1)

    def remap(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """timm's classifier is a 1x1 convolution, and its last norm holds its ReLU."""
        renamed = {}
        for name, tensor in state.items():
            if name.startswith("head.fc."):
                renamed[name.removeprefix("head.")] = tensor.flatten(1) if name.endswith("weight") else tensor
            elif name.startswith("norm.") and not name.startswith("norm.0."):
                renamed[f"norm.0.{name.removeprefix('norm.')}"] = tensor
            else:
                renamed[name] = tensor
        return renamed

    def init_classifier(self, layer: nn.Linear | nn.Conv2d) -> None:
        narrow_normal(layer)


PUBLISHED: dict[str, Published] = {
    "resnet_50": Published(
        "https://huggingface.co/timm/resnetv2_50.a1h_in1k/resolve/main/model.safetensors",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="bicubic",
        license="Apache-2.0",
    ),
}
