"""ResNeSt (arXiv 2004.08955): ResNet-D whose 3x3 convolutions are split attention.

Names of tensors are those of the authors' files and of timm. The `fast` variants are the paper's ablations: a name such as
2s1x64d says 2 splits, 1 group, width 64. In training, stochastic depth skips the branch; timm's class of these networks draws
for the projections instead.
"""

from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from models.layers.residual_net import ResidualBlock, ResidualNet, projection
from models.layers.split_attention import SplitAttention
from models.layers.stochastic_depth import StochasticDepth
from models.published import Published


@dataclass(frozen=True)
class ResNeStArch:
    """What the variants differ by.

    Attributes:
        depths: blocks of the four stages.
        radix, groups, group_width: splits in a group, groups, and the width of a group in the first stage.
        stem: channels of the three convolutions of the stem.
        pool_first: a block that halves the map does so before its split attention, not after.
    """

    depths: tuple[int, int, int, int]
    radix: int = 2
    groups: int = 1
    group_width: int = 64
    stem: tuple[int, int, int] = (64, 64, 128)
    pool_first: bool = False


def fast(radix: int, groups: int, width: int) -> ResNeStArch:
    return ResNeStArch((3, 4, 6, 3), radix, groups, width, stem=(32, 32, 64), pool_first=True)


VARIANTS: dict[str, ResNeStArch] = {
    "resnest50": ResNeStArch((3, 4, 6, 3), stem=(32, 32, 64)),
    "resnest101": ResNeStArch((3, 4, 23, 3)),
    "resnest200": ResNeStArch((3, 24, 36, 3)),
    "resnest269": ResNeStArch((3, 30, 48, 8)),
    "resnest50_fast_1s1x64d": fast(1, 1, 64),
    "resnest50_fast_2s1x64d": fast(2, 1, 64),
    "resnest50_fast_4s1x64d": fast(4, 1, 64),
    "resnest50_fast_1s2x40d": fast(1, 2, 40),
    "resnest50_fast_2s2x40d": fast(2, 2, 40),
    "resnest50_fast_4s2x40d": fast(4, 2, 40),
    "resnest50_fast_1s4x24d": fast(1, 4, 24),
}


class SplitBottleneck(ResidualBlock):
    """A 1x1 convolution, split attention, a 1x1 convolution, and a shortcut; a mean over 3x3 pixels halves the map."""

    expansion = 4

    def __init__(self, channels: int, planes: int, *, stride: int, arch: ResNeStArch) -> None:
        super().__init__()
        width = planes * arch.group_width // 64 * arch.groups
        out = planes * self.expansion
        pool = nn.AvgPool2d(3, stride, padding=1) if stride > 1 else nn.Identity()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool_before = pool if arch.pool_first else nn.Identity()
        self.conv2 = SplitAttention(width, stride=1, groups=arch.groups, radix=arch.radix)
        self.pool_after = nn.Identity() if arch.pool_first else pool
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(channels, out, stride=stride, averaged=True)
        self.depth = StochasticDepth(0.0)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool_before(self.relu(self.bn1(self.conv1(x))))
        y = self.pool_after(self.conv2(y))
        y = self.depth(self.bn3(self.conv3(y)))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class ResNeSt(ResidualNet):
    """A variant of the table. Maps: the stem at stride 2, then the four stages at 4, 8, 16 and 32."""

    def __init__(self, arch: str, *, num_classes: int, drop_rate: float | None = None) -> None:
        chosen = VARIANTS[arch]
        super().__init__(
            partial(SplitBottleneck, arch=chosen),
            expansion=SplitBottleneck.expansion,
            depths=chosen.depths,
            num_classes=num_classes,
            drop_rate=drop_rate,
            stem=chosen.stem,
        )
        self.arch = chosen


def _released(file: str, top1: float, side: int = 224, interpolation: str = "bilinear") -> Published:
    url = f"https://github.com/zhanghang1989/ResNeSt/releases/download/weights_step1/{file}.pth"
    return Published(url, size=(side, side), interpolation=interpolation, license="Apache-2.0", top1=top1)


PUBLISHED: dict[str, Published] = {
    "resnest50": _released("resnest50-528c19ca", 81.03),
    "resnest101": _released("resnest101-22405ba7", 82.83, 256),
    "resnest200": _released("resnest200-75117900", 83.84, 320, "bicubic"),
    "resnest269": _released("resnest269-0cc87c48", 84.54, 416, "bicubic"),
    "resnest50_fast_1s1x64d": _released("resnest50_fast_1s1x64d-d8fbf808", 80.33),
    "resnest50_fast_2s1x64d": _released("resnest50_fast_2s1x64d-44938639", 80.53),
    "resnest50_fast_4s1x64d": _released("resnest50_fast_4s1x64d-f74f3fc3", 80.76),
    "resnest50_fast_1s2x40d": _released("resnest50_fast_1s2x40d-32830b84", 80.59),
    "resnest50_fast_2s2x40d": _released("resnest50_fast_2s2x40d-9d126481", 80.97),
    "resnest50_fast_4s2x40d": _released("resnest50_fast_4s2x40d-41d14ed0", 80.86, interpolation="bicubic"),
    "resnest50_fast_1s4x24d": _released("resnest50_fast_1s4x24d-d4a4f76f", 80.99, interpolation="bicubic"),
}
