"""A feature pyramid (arXiv 1612.03144) whose maps are laid side by side at stride 4, as UPerNet joins them (arXiv 1807.10221)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.necks.fpn import FPN
from models.segmenters.decoder import Decoder, conv_norm_relu, resize, size_of

WIDTH = 128


class FPNDecoder(Decoder):
    """Four maps of the pyramid at stride 4, and a 1x1 convolution of all."""

    STRIDES = (4, 8, 16, 32)

    def __init__(self, info: Sequence[FeatureInfo], *, num_classes: int, drop_rate: float | None, output_stride: int | None) -> None:
        super().__init__(info, num_classes=num_classes, drop_rate=drop_rate, output_stride=output_stride)
        self.neck = FPN(info, WIDTH)
        self.fuse = conv_norm_relu(len(info) * WIDTH, WIDTH)
        self.dropout = nn.Dropout2d(0.1 if drop_rate is None else drop_rate)
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)
        self.init_weights()

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        del size
        pyramid = self.neck(maps)
        size = size_of(pyramid[0])
        return self.classifier(self.dropout(self.fuse(torch.cat([resize(each, size) for each in pyramid], dim=1))))
