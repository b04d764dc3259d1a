"""U-Net++ (arXiv 1807.10165) on any encoder: U-Nets of every depth within one another, each reading what the shallower ones found."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.segmenters.decoder import Decoder, size_of
from models.segmenters.unet import WIDTHS, UpBlock, halved


class UNetPlusPlus(Decoder):
    """A U-Net begins at every map of the encoder; at each size, the deepest one reads the answers of all others, and gives the logits."""

    STRIDES = (4, 8, 16, 32)
    STEM = True

    def __init__(self, info: Sequence[FeatureInfo], *, num_classes: int, drop_rate: float | None, output_stride: int | None) -> None:
        super().__init__(info, num_classes=num_classes, drop_rate=drop_rate, output_stride=output_stride)
        first, *skipped = [each.channels for each in reversed(info)]
        deepest = (first, *WIDTHS)
        others = (first, *skipped)
        # The block of the U-Net that begins at map `start`, counted from the smallest, on its way from map `step` to the next.
        self.blocks = nn.ModuleDict()
        for step, width in enumerate(skipped):
            for start in range(step + 1):
                inputs, out = (deepest[step], WIDTHS[step]) if start == 0 else (others[step], width)
                self.blocks[f"{start}_{step}"] = UpBlock(inputs, width * (step + 1 - start), out)
        rest = range(len(skipped), len(WIDTHS))
        self.last = nn.ModuleList(UpBlock(deepest[step], 0, WIDTHS[step]) for step in rest)
        self.dropout = nn.Dropout2d(drop_rate or 0.0)
        self.classifier = nn.Conv2d(WIDTHS[-1], num_classes, 3, padding=1)
        self.init_weights()

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        deep = maps[::-1]
        nets: list[Tensor] = []
        for step, skip in enumerate(deep[1:]):
            nets = [*nets, deep[step]]
            found: list[Tensor] = []
            # The shallowest first: the others read it.
            for start in reversed(range(step + 1)):
                block = self.blocks[f"{start}_{step}"]
                found = [block(nets[start], size_of(skip), torch.cat([*found, skip], dim=1)), *found]
            nets = found
        x = nets[0]
        for step, block in enumerate(self.last):
            x = block(x, halved(size, len(self.last) - 1 - step), None)
        return self.classifier(self.dropout(x))
