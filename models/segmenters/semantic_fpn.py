"""The semantic branch of panoptic feature pyramid networks (arXiv 1901.02446): a pyramid, added up step by step to stride 4."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.necks.semantic_fpn import SemanticFPN
from models.segmenters.decoder import Decoder


class SemanticFPNDecoder(Decoder):
    """The neck of that name, and a classifier."""

    STRIDES = (4, 8, 16, 32)

    def __init__(self, info: Sequence[FeatureInfo], *, num_classes: int, drop_rate: float | None, output_stride: int | None) -> None:
        super().__init__(info, num_classes=num_classes, drop_rate=drop_rate, output_stride=output_stride)
        self.neck = SemanticFPN(info)
        self.dropout = nn.Dropout2d(drop_rate or 0.0)
        self.classifier = nn.Conv2d(self.neck.feature_info[0].channels, num_classes, 1)
        self.init_weights()
        with torch.no_grad():
            # The maps of all strides are added up.
            self.classifier.weight /= len(self.STRIDES)

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        del size
        return self.classifier(self.dropout(self.neck(maps)[0]))
