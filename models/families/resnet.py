"""ResNet (arXiv 1512.03385) and what grew from it.

ResNeXt (arXiv 1611.05431), Wide ResNet (arXiv 1605.07146), the stems and shortcuts of ResNet-D (arXiv 1812.01187), SENet
(arXiv 1709.01507), ECA-Net (arXiv 1910.03151), anti-aliased ResNet (arXiv 1904.11486) and ResNet-RS (arXiv 2103.07579).
Names of tensors are those of torchvision and timm, so their published weights load as they are. As there, the stride of a
bottleneck sits in its 3x3 convolution.
"""

from functools import partial

from torch import Tensor, nn

from models.families.resnet_variants import PUBLISHED, VARIANTS, ResNetArch
from models.layers.blur_pool import BlurPool
from models.layers.channel_attention import EfficientChannelAttention, SqueezeExcite
from models.layers.residual_net import ResidualBlock, ResidualNet, projection
from models.layers.stochastic_depth import StochasticDepth
from utils.errors import UserError

__all__ = ["PUBLISHED", "VARIANTS", "BasicBlock", "Bottleneck", "ResNet", "ResNetArch"]

# The last blur halves a map of stride 16, and cannot mirror the border of a single pixel.
SMALLEST_BLURRED = 17


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, channels: int, planes: int, *, stride: int, arch: ResNetArch) -> None:
        super().__init__()
        assert (arch.groups, arch.group_width, arch.reduce_first) == (1, 64, 1), "basic blocks are neither grouped nor wide"
        blurred = arch.blur and stride > 1
        self.conv1 = nn.Conv2d(channels, planes, 3, 1 if blurred else stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.blur = BlurPool() if blurred else nn.Identity()
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.se = channel_attention(planes, arch)
        self.downsample = projection(channels, planes, stride=stride, averaged=arch.average_shortcut, kernel=arch.shortcut_kernel)
        self.depth = StochasticDepth(0.0)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        y = self.blur(self.relu(self.bn1(self.conv1(x))))
        y = self.depth(self.se(self.bn2(self.conv2(y))))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class Bottleneck(ResidualBlock):
    """1x1, 3x3 (grouped in ResNeXt) and 1x1 convolutions, and a shortcut."""

    expansion = 4

    def __init__(self, channels: int, planes: int, *, stride: int, arch: ResNetArch) -> None:
        super().__init__()
        width = planes * arch.group_width // 64 * arch.groups
        reduced = width // arch.reduce_first
        out = planes * self.expansion
        blurred = arch.blur and stride > 1
        self.conv1 = nn.Conv2d(channels, reduced, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(reduced)
        self.conv2 = nn.Conv2d(reduced, width, 3, 1 if blurred else stride, 1, groups=arch.groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.blur = BlurPool() if blurred else nn.Identity()
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.se = channel_attention(out, arch)
        self.downsample = projection(channels, out, stride=stride, averaged=arch.average_shortcut, kernel=arch.shortcut_kernel)
        self.depth = StochasticDepth(0.0)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.blur(self.relu(self.bn2(self.conv2(y))))
        y = self.depth(self.se(self.bn3(self.conv3(y))))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


def channel_attention(channels: int, arch: ResNetArch) -> nn.Module:
    """The gate at the end of a branch; the identity where the architecture has none."""
    if arch.attention == "se":
        return SqueezeExcite(channels, arch.squeeze)
    return EfficientChannelAttention(channels) if arch.attention == "eca" else nn.Identity()


class ResNet(ResidualNet):
    """A variant of the table. Maps: the stem at stride 2, then the four stages at 4, 8, 16 and 32."""

    def __init__(self, arch: str, *, num_classes: int, drop_rate: float | None = None) -> None:
        chosen = VARIANTS[arch]
        kind = Bottleneck if chosen.bottleneck else BasicBlock
        super().__init__(
            partial(kind, arch=chosen),
            expansion=kind.expansion,
            depths=chosen.depths,
            num_classes=num_classes,
            drop_rate=drop_rate,
            stem=chosen.stem,
            learned_pool=chosen.learned_pool,
            blur=chosen.blur,
        )
        self.arch = chosen

    def check_size(self, image_size: tuple[int, int]) -> None:
        """Return when the network takes images of this (height, width).

        Raises:
            UserError: the blurred variants mirror the border of their maps, which need two pixels.
        """
        if self.arch.blur and min(image_size) < SMALLEST_BLURRED:
            height, width = image_size
            raise UserError(f"images of {height} x {width} pixels are too small for blur pooling; the least is {SMALLEST_BLURRED} a side")
