"""The head of SegFormer (arXiv 2105.15203): every map through a linear layer of its own, all at stride 4 through one more."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.segmenters.decoder import Decoder, conv_norm_relu, resize, size_of

WIDTH = 256


class SegFormerHead(Decoder):
    """Linear layers alone: what lies far off is the encoder's to see, best a transformer's."""

    STRIDES = (4, 8, 16, 32)

    def __init__(self, info: Sequence[FeatureInfo], *, num_classes: int, drop_rate: float | None, output_stride: int | None) -> None:
        super().__init__(info, num_classes=num_classes, drop_rate=drop_rate, output_stride=output_stride)
        self.linear = nn.ModuleList(nn.Conv2d(each.channels, WIDTH, 1) for each in info)
        self.fuse = conv_norm_relu(len(info) * WIDTH, WIDTH)
        self.dropout = nn.Dropout2d(0.1 if drop_rate is None else drop_rate)
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)
        self.init_weights()

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        del size
        size = size_of(maps[0])
        # The smallest map first, as published.
        parts = [resize(linear(each), size) for linear, each in zip(self.linear, maps, strict=True)]
        return self.classifier(self.dropout(self.fuse(torch.cat(parts[::-1], dim=1))))
