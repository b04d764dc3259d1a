"""DeepLabV3 (arXiv 1706.05587): atrous spatial pyramid pooling on a dilated encoder."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.segmenters.aspp import ASPP, RATES, WIDTH
from models.segmenters.decoder import Decoder, FcnHead, conv_norm_relu


class DeepLabV3(Decoder):
    """ASPP and a 3x3 convolution; the auxiliary head reads the map before the last one."""

    STRIDES = (16, 32)
    OUTPUT_STRIDES = (8, 16)

    def __init__(self, info: Sequence[FeatureInfo], *, num_classes: int, drop_rate: float | None, output_stride: int | None) -> None:
        super().__init__(info, num_classes=num_classes, drop_rate=drop_rate, output_stride=output_stride)
        assert output_stride is not None
        before, last = (each.channels for each in info)
        self.aspp = ASPP(last, RATES[output_stride], separable=False, drop_rate=0.5 if drop_rate is None else drop_rate)
        self.conv = conv_norm_relu(WIDTH, WIDTH, kernel=3)
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)
        self.auxiliary = FcnHead(before, num_classes=num_classes)
        self.init_weights()

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        del size
        return self.classifier(self.conv(self.aspp(maps[-1])))
