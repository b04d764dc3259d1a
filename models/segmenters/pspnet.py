"""PSPNet (arXiv 1612.01105): the last map of a dilated encoder beside its means over the whole image and over parts of it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.segmenters.decoder import Decoder, FcnHead, conv_norm_relu, resize, size_of

BINS = (1, 2, 3, 6)
WIDTH = 512


class PyramidPooling(nn.Module):
    """Append to a map its means over 1, 4, 9 and 36 parts of the image, each with a quarter of the channels.

    The mean of the whole has no norm: a batch of one image has none.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        out = channels // len(BINS)
        self.pools = nn.ModuleList(nn.AdaptiveAvgPool2d(bins) for bins in BINS)
        whole = nn.Sequential(nn.Conv2d(channels, out, 1), nn.ReLU(inplace=True))
        self.convs = nn.ModuleList([whole, *(conv_norm_relu(channels, out) for _ in BINS[1:])])

    def forward(self, x: Tensor) -> Tensor:
        parts = [conv(pool(x)) for pool, conv in zip(self.pools, self.convs, strict=True)]
        return torch.cat([*(resize(part, size_of(x), corners=True) for part in parts), x], dim=1)


class PSPNet(Decoder):
    """Pyramid pooling, and a 1x1 convolution of all; the auxiliary head reads the map before the last one."""

    STRIDES = (16, 32)
    OUTPUT_STRIDES = (8, 16)

    def __init__(self, info: Sequence[FeatureInfo], *, num_classes: int, drop_rate: float | None, output_stride: int | None) -> None:
        super().__init__(info, num_classes=num_classes, drop_rate=drop_rate, output_stride=output_stride)
        before, last = (each.channels for each in info)
        self.pooling = PyramidPooling(last)
        self.conv = conv_norm_relu(last + len(BINS) * (last // len(BINS)), WIDTH)
        self.dropout = nn.Dropout2d(0.1 if drop_rate is None else drop_rate)
        self.classifier = nn.Conv2d(WIDTH, num_classes, 3, padding=1)
        self.auxiliary = FcnHead(before, num_classes=num_classes)
        self.init_weights()

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        del size
        return self.classifier(self.dropout(self.conv(self.pooling(maps[-1]))))
