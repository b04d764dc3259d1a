"""The contract of every decoder, and the layers that several of them share."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.necks.neck import Neck
from models.segmenters.encoder_network import MapReader


class Decoder(MapReader):
    """Turns the maps of an encoder into logits.

    It is built with (feature_info, num_classes, drop_rate, output_stride): the maps that it reads, the number of classes, the dropout
    before the classifier (None for the published one), and the stride of the last map (None for what the encoder has).

    Attributes:
        STRIDES: of the maps that it reads, as the encoder is published; ascending.
        STEM: whether it also reads a map of stride 2 where the encoder has one.
        OUTPUT_STRIDES: to which the last map of the encoder may be dilated, the default first; empty for an encoder as it is published.
        classifier: the last layer.
        auxiliary: reads the map before the last one in training; None for none.
    """

    STRIDES: ClassVar[tuple[int, ...]]
    STEM: ClassVar[bool] = False
    OUTPUT_STRIDES: ClassVar[tuple[int, ...]] = ()

    classifier: nn.Conv2d

    @abstractmethod
    def __init__(self, info: Sequence[FeatureInfo], *, num_classes: int, drop_rate: float | None, output_stride: int | None) -> None:
        super().__init__()
        self.auxiliary: FcnHead | None = None

    @abstractmethod
    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Return logits (N, num_classes, h, w), of any h and w.

        Args:
            maps: (N, C, h, w), the largest first.
            size: height and width of the image.
        """

    def classifiers(self) -> list[nn.Conv2d]:
        return [self.classifier, *([] if self.auxiliary is None else [self.auxiliary.classifier])]

    def init_weights(self) -> None:
        """He's normal (arXiv 1502.01852) for convolutions, Xavier's even draws for classifiers. A neck keeps its own.

        Decoders are narrow at their end: a classifier that starts near zero would take Adam a hundred steps to grow.
        """
        classifiers = self.classifiers()
        of_necks = {layer for neck in self.modules() if isinstance(neck, Neck) for layer in neck.modules()}
        for module in self.modules():
            if module in of_necks:
                continue
            if isinstance(module, nn.Conv2d):
                if module in classifiers:
                    nn.init.xavier_uniform_(module.weight)
                else:
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def conv_norm_relu(channels: int, out: int, *, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    """A convolution that keeps the size, batch norm and ReLU."""
    padding = kernel // 2 * dilation
    return nn.Sequential(nn.Conv2d(channels, out, kernel, 1, padding, dilation, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True))


def separable_conv_norm_relu(channels: int, out: int, *, dilation: int = 1) -> nn.Sequential:
    """A 3x3 convolution of every channel, then one of all channels (arXiv 1610.02357), batch norm and ReLU."""
    each = nn.Conv2d(channels, channels, 3, 1, dilation, dilation, groups=channels, bias=False)
    return nn.Sequential(each, nn.Conv2d(channels, out, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True))


class FcnHead(nn.Module):
    """Logits from one map (arXiv 1411.4038), as the auxiliary head of PSPNet: arXiv 1612.01105, section 3.3."""

    def __init__(self, channels: int, *, num_classes: int) -> None:
        super().__init__()
        self.block = nn.Sequential(conv_norm_relu(channels, channels // 4, kernel=3), nn.Dropout(0.1))
        self.classifier = nn.Conv2d(channels // 4, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.block(x))


class PooledNorm(nn.BatchNorm2d):
    """Batch norm of maps of a single pixel: a training batch of one image has no variance, and takes the running statistics."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.shape[0] * input.shape[2] * input.shape[3] == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(input)


def resize(x: Tensor, size: tuple[int, int], *, corners: bool = False) -> Tensor:
    """Return maps (N, C, h, w) at another height and width, bilinear.

    Args:
        x: of any size.
        size: height and width.
        corners: whether the outermost pixels lie on one another, rather than the outermost edges.
    """
    if (x.shape[-2], x.shape[-1]) == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=corners)


def size_of(x: Tensor) -> tuple[int, int]:
    """Return height and width of maps (N, C, h, w)."""
    return x.shape[-2], x.shape[-1]
