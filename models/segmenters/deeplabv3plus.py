"""DeepLabV3+ (arXiv 1802.02611): DeepLabV3 with separable convolutions, refined by the map of stride 4."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.segmenters.aspp import ASPP, RATES, WIDTH
from models.segmenters.decoder import Decoder, FcnHead, conv_norm_relu, resize, separable_conv_norm_relu, size_of

FINE = 48


class DeepLabV3Plus(Decoder):
    """ASPP at stride 16 or 8, enlarged to stride 4 and joined with 48 channels of the map there."""

    STRIDES = (4, 16, 32)
    OUTPUT_STRIDES = (16, 8)

    def __init__(self, info: Sequence[FeatureInfo], *, num_classes: int, drop_rate: float | None, output_stride: int | None) -> None:
        super().__init__(info, num_classes=num_classes, drop_rate=drop_rate, output_stride=output_stride)
        assert output_stride is not None
        fine, before, last = (each.channels for each in info)
        self.aspp = ASPP(last, RATES[output_stride], separable=True, drop_rate=0.5 if drop_rate is None else drop_rate)
        self.conv = separable_conv_norm_relu(WIDTH, WIDTH)
        self.fine = conv_norm_relu(fine, FINE)
        self.fuse = separable_conv_norm_relu(WIDTH + FINE, WIDTH)
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)
        self.auxiliary = FcnHead(before, num_classes=num_classes)
        self.init_weights()

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        del size
        coarse = resize(self.conv(self.aspp(maps[-1])), size_of(maps[0]), corners=True)
        return self.classifier(self.fuse(torch.cat([coarse, self.fine(maps[0])], dim=1)))
