"""The frame of the networks before ResNet: a chain of convolutions and maxima, then wide linear layers (AlexNet, 2012)."""

from itertools import pairwise

from torch import Tensor, nn

from models.backbone import Backbone, FeatureInfo, checked_width
from models.layers.narrow_normal import narrow_normal
from utils.errors import UserError

HIDDEN = 4096


class ChainNet(Backbone):
    """`features`, the mean over a grid of cells, `classifier`; subclasses build them.

    Maps: what enters each halving from stride 2 on, and the last, which the head reads. Convolutions without padding lose a border:
    a map has up to three pixels less than the image's side over its stride. `check_size` knows how many pixels are needed.

    Args:
        features: layers in a row.
        ends: indices of the layers behind which a map stands.
        cells: side of the grid that the head reads.
        classifier: takes (N, C * cells * cells) vectors; its last layer gives the logits.
    """

    def __init__(self, features: nn.Sequential, *, ends: tuple[int, ...], cells: int, classifier: nn.Sequential) -> None:
        super().__init__()
        last = classifier[-1]
        assert isinstance(last, nn.Linear)
        self.num_classes = checked_width(last.out_features)
        self.features = features
        self.ends = ends
        self.avgpool = nn.AdaptiveAvgPool2d(cells)
        self.classifier = classifier

    @property
    def feature_info(self) -> list[FeatureInfo]:
        infos, channels, stride = [], 3, 1
        for index, layer in enumerate(self.features):
            if isinstance(layer, nn.Conv2d):
                channels = layer.out_channels
            stride *= _window(layer)[1]
            if index in self.ends:
                infos.append(FeatureInfo(channels, stride))
        return infos

    def check_size(self, image_size: tuple[int, int]) -> None:
        """Return when the network takes images of this (height, width).

        Raises:
            UserError: a map would have no pixel left.
        """
        if not self._leaves_a_pixel(min(image_size)):
            least = next(side for side in range(1, 1024) if self._leaves_a_pixel(side))
            height, width = image_size
            raise UserError(f"images of {height} x {width} pixels are too small for this network; the least is {least} a side")

    def _leaves_a_pixel(self, side: int) -> bool:
        for layer in self.features:
            kernel, stride, padding = _window(layer)
            side = (side + 2 * padding - kernel) // stride + 1
        return side >= 1

    def forward_features(self, x: Tensor) -> list[Tensor]:
        maps = []
        for start, end in pairwise((-1, *self.ends)):
            x = self.features[start + 1 : end + 1](x)
            maps.append(x)
        return maps

    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        x = self.avgpool(maps[-1]).flatten(1)
        if not pre_logits:
            return self.classifier(x)
        before = -2 if isinstance(self.classifier[-2], nn.Dropout) else -1
        return self.classifier[:before](x)

    def get_classifier(self) -> nn.Linear:
        layer = self.classifier[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def init_classifier(self, layer: nn.Linear | nn.Conv2d) -> None:
        narrow_normal(layer)


def init_chain(net: nn.Module) -> None:
    """He's normal (arXiv 1502.01852) for convolutions, a narrow normal for linear layers."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            narrow_normal(module)


def _window(layer: nn.Module) -> tuple[int, int, int]:
    """Kernel, stride and padding of a layer, (1, 1, 0) where it has no window."""
    if isinstance(layer, nn.Conv2d):
        assert isinstance(layer.padding, tuple)
        return layer.kernel_size[0], layer.stride[0], layer.padding[0]
    if isinstance(layer, nn.MaxPool2d):
        assert isinstance(layer.kernel_size, int)
        assert isinstance(layer.stride, int)
        assert isinstance(layer.padding, int)
        return layer.kernel_size, layer.stride, layer.padding
    return 1, 1, 0
