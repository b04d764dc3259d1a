"""GoogLeNet (arXiv 1409.4842), with batch norm and without the classifiers at its side.

Names of tensors are torchvision's, so its published weights load; the classifiers at the side that its file also has are reported.
As in that file, the branch that the paper calls 5x5 has a 3x3 kernel.
"""

import torch
from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.layers.narrow_normal import narrow_normal
from models.layers.pooled_classifier import PooledClassifier
from models.published import Published

# Branch by branch: 1x1; 3x3 behind 1x1; the "5x5" behind 1x1; the 1x1 behind a maximum (table 1 of the paper).
INCEPTIONS: dict[str, tuple[int, int, int, int, int, int]] = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
VARIANTS = {"googlenet": INCEPTIONS}


class ConvNormRelu(nn.Module):
    """A padded convolution, batch norm and ReLU."""

    def __init__(self, channels: int, out: int, *, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """Four branches side by side, joined along the channels."""

    def __init__(self, channels: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        one, reduce_three, three, reduce_five, five, pooled = widths
        self.out = one + three + five + pooled
        self.branch1 = ConvNormRelu(channels, one, kernel=1)
        self.branch2 = nn.Sequential(ConvNormRelu(channels, reduce_three, kernel=1), ConvNormRelu(reduce_three, three, kernel=3))
        self.branch3 = nn.Sequential(ConvNormRelu(channels, reduce_five, kernel=1), ConvNormRelu(reduce_five, five, kernel=3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), ConvNormRelu(channels, pooled, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


class GoogLeNet(PooledClassifier):
    """Maps: before every halving, at strides 2, 4, 8 and 16, and the last at 32."""

    def __init__(self, arch: str, *, num_classes: int, drop_rate: float | None = None) -> None:
        super().__init__()
        self.conv1 = ConvNormRelu(3, 64, kernel=7, stride=2)
        self.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = ConvNormRelu(64, 64, kernel=1)
        self.conv3 = ConvNormRelu(64, 192, kernel=3)
        channels = 192
        for name, widths in VARIANTS[arch].items():
            block = Inception(channels, widths)
            self.add_module(f"inception{name}", block)
            channels = block.out
        self.maxpool4 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.add_head(channels, num_classes=num_classes, drop_rate=0.2 if drop_rate is None else drop_rate)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.init_classifier(self.fc)

    @property
    def feature_info(self) -> list[FeatureInfo]:
        return [FeatureInfo(channels, 2 ** (i + 1)) for i, channels in enumerate((64, 192, 480, 832, 1024))]

    def forward_features(self, x: Tensor) -> list[Tensor]:
        maps = [self.conv1(x)]
        maps.append(self.conv3(self.conv2(self.maxpool(maps[-1]))))
        maps.append(self._inceptions(self.maxpool(maps[-1]), stage="3"))
        maps.append(self._inceptions(self.maxpool(maps[-1]), stage="4"))
        maps.append(self._inceptions(self.maxpool4(maps[-1]), stage="5"))
        return maps

    def _inceptions(self, x: Tensor, *, stage: str) -> Tensor:
        for name in INCEPTIONS:
            if name.startswith(stage):
                x = self.get_submodule(f"inception{name}")(x)
        return x

    def init_classifier(self, layer: nn.Linear | nn.Conv2d) -> None:
        narrow_normal(layer)


PUBLISHED: dict[str, Published] = {
    "googlenet": Published(
        "https://download.pytorch.org/models/googlenet-1378be20.pth",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        license="BSD-3-Clause",
        top1=69.778,
    ),
}
