"""U-Net (arXiv 1505.04597) on any encoder: every step back up doubles the size and reads the map that had it."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.segmenters.decoder import Decoder, conv_norm_relu, size_of

WIDTHS = (256, 128, 64, 32, 16)


class UpBlock(nn.Module):
    """Enlarge to a given size, append what skips the depth, and convolve twice."""

    def __init__(self, channels: int, skipped: int, out: int) -> None:
        super().__init__()
        self.conv1 = conv_norm_relu(channels + skipped, out, kernel=3)
        self.conv2 = conv_norm_relu(out, out, kernel=3)

    def forward(self, x: Tensor, size: tuple[int, int], skip: Tensor | None) -> Tensor:
        x = F.interpolate(x, size, mode="nearest")
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        return self.conv2(self.conv1(x))


class UNet(Decoder):
    """Five steps from stride 32 to the size of the image; an encoder whose maps begin at stride 4 has one map less to append."""

    STRIDES = (4, 8, 16, 32)
    STEM = True

    def __init__(self, info: Sequence[FeatureInfo], *, num_classes: int, drop_rate: float | None, output_stride: int | None) -> None:
        super().__init__(info, num_classes=num_classes, drop_rate=drop_rate, output_stride=output_stride)
        first, *skipped = [each.channels for each in reversed(info)]
        skipped += [0] * (len(WIDTHS) - len(skipped))
        inputs = (first, *WIDTHS)
        self.blocks = nn.ModuleList(UpBlock(*each) for each in zip(inputs, skipped, WIDTHS, strict=False))
        self.dropout = nn.Dropout2d(drop_rate or 0.0)
        self.classifier = nn.Conv2d(WIDTHS[-1], num_classes, 3, padding=1)
        self.init_weights()

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        x, *skips = reversed(maps)
        for step, block in enumerate(self.blocks):
            skip = skips[step] if step < len(skips) else None
            # Without a map of stride 2, that step goes half the way.
            left = len(self.blocks) - 1 - step
            wanted = size_of(skip) if skip is not None else halved(size, left)
            x = block(x, wanted, skip)
        return self.classifier(self.dropout(x))


def halved(size: tuple[int, int], times: int) -> tuple[int, int]:
    """Return height and width after so many layers of stride 2."""
    height, width = size
    return -(-height // 2**times), -(-width // 2**times)
