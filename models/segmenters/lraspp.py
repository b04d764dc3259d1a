"""Lite R-ASPP (arXiv 1905.02244, section 6.4): one gate and two classifiers, for phones and single-board computers."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.segmenters.decoder import Decoder, conv_norm_relu, resize, size_of

WIDTH = 128


class LiteRASPP(Decoder):
    """The last map, gated by its own mean over the image, is classified beside the map of stride 8."""

    STRIDES = (8, 32)
    OUTPUT_STRIDES = (16, 8)

    def __init__(self, info: Sequence[FeatureInfo], *, num_classes: int, drop_rate: float | None, output_stride: int | None) -> None:
        super().__init__(info, num_classes=num_classes, drop_rate=drop_rate, output_stride=output_stride)
        fine, last = (each.channels for each in info)
        self.conv = conv_norm_relu(last, WIDTH)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(last, WIDTH, 1, bias=False), nn.Sigmoid())
        self.dropout = nn.Dropout2d(drop_rate or 0.0)
        self.fine_classifier = nn.Conv2d(fine, num_classes, 1)
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)
        self.init_weights()

    def classifiers(self) -> list[nn.Conv2d]:
        return [self.classifier, self.fine_classifier]

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        del size
        fine, last = maps
        x = resize(self.conv(last) * self.gate(last), size_of(fine))
        return self.classifier(self.dropout(x)) + self.fine_classifier(fine)
