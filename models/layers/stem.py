"""The first convolutions of a residual network: one of 7x7, or three of 3x3 (arXiv 1812.01187)."""

from torch import nn

from models.layers.blur_pool import BlurPool


def stem_convolution(widths: tuple[int, ...]) -> nn.Conv2d | nn.Sequential:
    """Halve an image (N, 3, H, W); batch norm and ReLU of the last convolution follow outside.

    Args:
        widths: channels of the one 7x7 convolution, or of each of three 3x3 convolutions.
    """
    if len(widths) == 1:
        return nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
    first, second, last = widths
    return nn.Sequential(
        nn.Conv2d(3, first, 3, 2, 1, bias=False),
        nn.BatchNorm2d(first),
        nn.ReLU(inplace=True),
        nn.Conv2d(first, second, 3, 1, 1, bias=False),
        nn.BatchNorm2d(second),
        nn.ReLU(inplace=True),
        nn.Conv2d(second, last, 3, 1, 1, bias=False),
    )


def stem_pool(channels: int, *, learned: bool, blur: bool) -> nn.Module:
    """Halve the stem's map: by its maximum, by a convolution (arXiv 2103.07579), or by a blurred maximum (arXiv 1904.11486)."""
    if learned:
        return nn.Sequential(nn.Conv2d(channels, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
    if blur:
        return nn.Sequential(nn.MaxPool2d(3, 1, 1), BlurPool())
    return nn.MaxPool2d(3, 2, 1)
