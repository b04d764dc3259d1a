"""ResNet (arXiv 1512.03385), ResNeXt (arXiv 1611.05431) and Wide ResNet (arXiv 1605.07146).

Parameter names are torchvision's, so its published weights load as they are. As there, the stride
of a bottleneck sits in its 3x3 convolution.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from models.backbone import Backbone, FeatureInfo, checked_width
from models.layers.stochastic_depth import StochasticDepth, set_rates
from models.published import Published


@dataclass(frozen=True)
class ResNetArch:
    """Blocks a stage, their kind, and the width of the 3x3 convolutions."""

    depths: tuple[int, int, int, int]
    bottleneck: bool = True
    groups: int = 1
    group_width: int = 64


VARIANTS: dict[str, ResNetArch] = {
    "resnet18": ResNetArch((2, 2, 2, 2), bottleneck=False),
    "resnet34": ResNetArch((3, 4, 6, 3), bottleneck=False),
    "resnet50": ResNetArch((3, 4, 6, 3)),
    "resnet101": ResNetArch((3, 4, 23, 3)),
    "resnet152": ResNetArch((3, 8, 36, 3)),
    "resnext50_32x4d": ResNetArch((3, 4, 6, 3), groups=32, group_width=4),
    "resnext101_32x8d": ResNetArch((3, 4, 23, 3), groups=32, group_width=8),
    "wide_resnet50_2": ResNetArch((3, 4, 6, 3), group_width=128),
    "wide_resnet101_2": ResNetArch((3, 4, 23, 3), group_width=128),
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, channels: int, planes: int, *, stride: int, groups: int, group_width: int) -> None:
        super().__init__()
        assert (groups, group_width) == (1, 64), "basic blocks are neither grouped nor wide"
        self.conv1 = nn.Conv2d(channels, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = shortcut(channels, planes, stride)
        self.depth = StochasticDepth(0.0)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.depth(self.bn2(self.conv2(x)))
        x += identity
        return self.relu(x)


class Bottleneck(nn.Module):
    """1x1, 3x3 (grouped in ResNeXt) and 1x1 convolutions, and a shortcut."""

    expansion = 4

    def __init__(self, channels: int, planes: int, *, stride: int, groups: int, group_width: int) -> None:
        super().__init__()
        width = planes * group_width // 64 * groups
        out = planes * self.expansion
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(channels, out, stride)
        self.depth = StochasticDepth(0.0)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.depth(self.bn3(self.conv3(x)))
        x += identity
        return self.relu(x)


def shortcut(channels: int, out: int, stride: int) -> nn.Sequential | None:
    """A 1x1 projection where the shape changes, else None for the identity."""
    if stride == 1 and channels == out:
        return None
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))


class ResNet(Backbone):
    """A variant of the table. Maps: the stem at stride 2, then the four stages at 4, 8, 16 and 32."""

    def __init__(self, arch: str, *, num_classes: int, drop_rate: float | None = None) -> None:
        super().__init__()
        self.arch = VARIANTS[arch]
        self.num_classes = checked_width(num_classes)
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        block = Bottleneck if self.arch.bottleneck else BasicBlock
        self.widths = [planes * block.expansion for planes in (64, 128, 256, 512)]
        inputs = [64, *self.widths]
        self.layer1 = self._stage(block, inputs[0], 64, depth=self.arch.depths[0], stride=1)
        self.layer2 = self._stage(block, inputs[1], 128, depth=self.arch.depths[1], stride=2)
        self.layer3 = self._stage(block, inputs[2], 256, depth=self.arch.depths[2], stride=2)
        self.layer4 = self._stage(block, inputs[3], 512, depth=self.arch.depths[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(drop_rate or 0.0)
        self.fc = nn.Linear(self.widths[-1], num_classes)
        self._init_weights()

    def _stage(self, block: type[BasicBlock | Bottleneck], channels: int, planes: int, *, depth: int, stride: int) -> nn.Sequential:
        shape = {"groups": self.arch.groups, "group_width": self.arch.group_width}
        first = block(channels, planes, stride=stride, **shape)
        rest = [block(planes * block.expansion, planes, stride=1, **shape) for _ in range(depth - 1)]
        return nn.Sequential(first, *rest)

    def _init_weights(self) -> None:
        """He's normal (arXiv 1502.01852); every block starts as its shortcut (arXiv 1706.02677)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, BasicBlock | Bottleneck):
                nn.init.zeros_(module.last_norm.weight)

    @property
    def feature_info(self) -> list[FeatureInfo]:
        return [FeatureInfo(64, 2), *(FeatureInfo(width, 4 * 2**i) for i, width in enumerate(self.widths))]

    def forward_features(self, x: Tensor) -> list[Tensor]:
        maps = [self.relu(self.bn1(self.conv1(x)))]
        maps.append(self.layer1(self.maxpool(maps[0])))
        maps.append(self.layer2(maps[1]))
        maps.append(self.layer3(maps[2]))
        maps.append(self.layer4(maps[3]))
        return maps

    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        x = self.avgpool(maps[-1]).flatten(1)
        return x if pre_logits else self.fc(self.dropout(x))

    def set_drop_path(self, rate: float) -> None:
        """Skip branches by timm's rule for this family: not the first block's, the last one's with `rate`."""
        branches = [block.depth for block in self.modules() if isinstance(block, BasicBlock | Bottleneck)]
        set_rates(branches, rate, parts=len(branches) - 1)

    def get_classifier(self) -> nn.Linear:
        return self.fc

    def reset_classifier(self, num_classes: int) -> None:
        self.num_classes = checked_width(num_classes)
        self.fc = nn.Linear(self.fc.in_features, num_classes).to(self.fc.weight)


_URL = "https://download.pytorch.org/models/"

PUBLISHED: dict[str, Published] = {
    "resnet18": Published(_URL + "resnet18-f37072fd.pth"),
    "resnet34": Published(_URL + "resnet34-b627a593.pth"),
    "resnet50": Published(_URL + "resnet50-11ad3fa6.pth"),
    "resnet101": Published(_URL + "resnet101-cd907fc2.pth"),
    "resnet152": Published(_URL + "resnet152-f82ba261.pth"),
    "resnext50_32x4d": Published(_URL + "resnext50_32x4d-1a0047aa.pth"),
    "resnext101_32x8d": Published(_URL + "resnext101_32x8d-110c445d.pth"),
    "wide_resnet50_2": Published(_URL + "wide_resnet50_2-9ba9bcbe.pth"),
    "wide_resnet101_2": Published(_URL + "wide_resnet101_2-d733dc28.pth"),
}
