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
        conv = self.conv1[0]
        # One that computes otherwise than torch's, such as in rounded numbers, has to be called.
        if self.training and skip is None and size == (2 * x.shape[-2], 2 * x.shape[-1]) and type(conv) is nn.Conv2d:
            return self.conv2(self.conv1[1:](convolved_at_double_size(x, conv.weight)))
        x = F.interpolate(x, size, mode="nearest")
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        return self.conv2(self.conv1(x))


def convolved_at_double_size(x: Tensor, weight: Tensor) -> Tensor:
    """Return what a 3x3 convolution of the map at double size, nearest neighbor, gives, without that map: (N, C, h, w) -> (N, O, 2h, 2w).

    Each of the four pixels that come from one looks at the same 3x3 pixels of the small map, some of them through a sum of weights. On
    a CPU this takes 0.6 of the time of a training step of that layer in bf16.

    Args:
        x: (N, C, h, w).
        weight: (O, C, 3, 3).
    """
    # (of the two rows that come from one, row of the small map, row of the kernel)
    rows = x.new_tensor([[[1, 0, 0], [0, 1, 1], [0, 0, 0]], [[0, 0, 0], [1, 1, 0], [0, 0, 1]]], dtype=weight.dtype)
    parts = torch.einsum("ocij,pai,qbj->opqcab", weight, rows, rows).flatten(0, 2)
    return F.pixel_shuffle(F.conv2d(x, parts, padding=1), 2)


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
