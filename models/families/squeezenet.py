"""SqueezeNet (arXiv 1602.07360): few channels look at the whole map, many at a squeezed one; the logits are the mean of a map.

Names of tensors are torchvision's, so its published weights load as they are. Version 1.1 halves the map earlier, at less cost.
"""

import torch
from torch import Tensor, nn

from models.backbone import Backbone, FeatureInfo, checked_width
from models.layers.narrow_normal import narrow_normal
from models.published import Published
from utils.errors import UserError


class Fire(nn.Module):
    """A 1x1 convolution, then a 1x1 and a 3x3 side by side, joined along the channels."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, 1, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.squeeze(x))
        return self.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1))


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def squeezenet1_0() -> tuple[nn.Module, ...]:
    return (
        *(nn.Conv2d(3, 96, 7, 2), nn.ReLU(inplace=True), _pool()),
        *(Fire(96, 16, 64), Fire(128, 16, 64), Fire(128, 32, 128), _pool()),
        *(Fire(256, 32, 128), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), _pool()),
        Fire(512, 64, 256),
    )


def squeezenet1_1() -> tuple[nn.Module, ...]:
    return (
        *(nn.Conv2d(3, 64, 3, 2), nn.ReLU(inplace=True), _pool()),
        *(Fire(64, 16, 64), Fire(128, 16, 64), _pool()),
        *(Fire(128, 32, 128), Fire(256, 32, 128), _pool()),
        *(Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)),
    )


# The layers, the indices behind which a map stands, the channels there, and the least side of an image.
VARIANTS = {
    "squeezenet1_0": (squeezenet1_0, (1, 5, 10, 12), (96, 256, 512, 512), 21),
    "squeezenet1_1": (squeezenet1_1, (1, 4, 7, 12), (64, 128, 256, 512), 17),
}


class SqueezeNet(Backbone):
    """A variant of the table. Maps: at strides 2, 4, 8 and 16; without padding at the first layer they lose up to three pixels."""

    def __init__(self, arch: str, *, num_classes: int, drop_rate: float | None = None) -> None:
        super().__init__()
        layers, self.ends, self.widths, self.least = VARIANTS[arch]
        self.num_classes = checked_width(num_classes)
        self.features = nn.Sequential(*layers())
        dropout = nn.Dropout(0.5 if drop_rate is None else drop_rate)
        self.classifier = nn.Sequential(dropout, nn.Conv2d(self.widths[-1], num_classes, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1))
        for module in self.features.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        self.init_classifier(self.get_classifier())

    @property
    def feature_info(self) -> list[FeatureInfo]:
        return [FeatureInfo(channels, 2 ** (i + 1)) for i, channels in enumerate(self.widths)]

    def check_size(self, image_size: tuple[int, int]) -> None:
        """Return when the network takes images of this (height, width).

        Raises:
            UserError: they are smaller than what the first convolution and the maxima need.
        """
        if min(image_size) < self.least:
            height, width = image_size
            raise UserError(f"images of {height} x {width} pixels are too small for this network; the least is {self.least} a side")

    def forward_features(self, x: Tensor) -> list[Tensor]:
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.ends:
                maps.append(x)
        return maps

    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        """Logits from the maps; `pre_logits` gives the mean of the last map, though the classifier takes the map itself."""
        return maps[-1].mean((2, 3)) if pre_logits else self.classifier(maps[-1]).flatten(1)

    def get_classifier(self) -> nn.Conv2d:
        layer = self.classifier[1]
        assert isinstance(layer, nn.Conv2d)
        return layer

    def init_classifier(self, layer: nn.Linear | nn.Conv2d) -> None:
        narrow_normal(layer)


_URL = "https://download.pytorch.org/models/"

PUBLISHED: dict[str, Published] = {
    "squeezenet1_0": Published(_URL + "squeezenet1_0-b66bff10.pth", license="BSD-3-Clause", top1=58.092),
    "squeezenet1_1": Published(_URL + "squeezenet1_1-b8a52dc0.pth", license="BSD-3-Clause", top1=58.178),
}
