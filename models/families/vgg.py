"""VGG (arXiv 1409.1556): 3x3 convolutions alone, with batch norm (arXiv 1502.03167) in the variants bn.

Names of tensors are torchvision's, so its published weights load as they are.
"""

from dataclasses import dataclass

from torch import nn

from models.layers.chain_net import HIDDEN, ChainNet, init_chain
from models.published import Published

WIDTHS = (64, 128, 256, 512, 512)
CELLS = 7


@dataclass(frozen=True)
class VGGArch:
    """Convolutions of the five stages, and whether each has a batch norm."""

    depths: tuple[int, int, int, int, int]
    batch_norm: bool = False


VARIANTS: dict[str, VGGArch] = {
    "vgg11": VGGArch((1, 1, 2, 2, 2)),
    "vgg13": VGGArch((2, 2, 2, 2, 2)),
    "vgg16": VGGArch((2, 2, 3, 3, 3)),
    "vgg19": VGGArch((2, 2, 4, 4, 4)),
    "vgg11_bn": VGGArch((1, 1, 2, 2, 2), batch_norm=True),
    "vgg13_bn": VGGArch((2, 2, 2, 2, 2), batch_norm=True),
    "vgg16_bn": VGGArch((2, 2, 3, 3, 3), batch_norm=True),
    "vgg19_bn": VGGArch((2, 2, 4, 4, 4), batch_norm=True),
}


class VGG(ChainNet):
    """A variant of the table. Maps: the second to the fifth stage at strides 2, 4, 8 and 16, and the last maximum at 32."""

    def __init__(self, arch: str, *, num_classes: int, drop_rate: float | None = None) -> None:
        layers, pools = _layers(VARIANTS[arch])
        rate = 0.5 if drop_rate is None else drop_rate
        classifier = nn.Sequential(
            *(nn.Linear(WIDTHS[-1] * CELLS**2, HIDDEN), nn.ReLU(inplace=True), nn.Dropout(rate)),
            *(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(inplace=True), nn.Dropout(rate)),
            nn.Linear(HIDDEN, num_classes),
        )
        ends = (*(index - 1 for index in pools[1:]), pools[-1])
        super().__init__(nn.Sequential(*layers), ends=ends, cells=CELLS, classifier=classifier)
        self.arch = VARIANTS[arch]
        init_chain(self)


def _layers(arch: VGGArch) -> tuple[list[nn.Module], list[int]]:
    """The layers in a row, and the indices of the maxima that end the stages."""
    layers: list[nn.Module] = []
    pools, channels = [], 3
    for depth, width in zip(arch.depths, WIDTHS, strict=True):
        for _ in range(depth):
            norm = [nn.BatchNorm2d(width)] if arch.batch_norm else []
            layers += [nn.Conv2d(channels, width, 3, 1, 1), *norm, nn.ReLU(inplace=True)]
            channels = width
        pools.append(len(layers))
        layers.append(nn.MaxPool2d(2, 2))
    return layers, pools


_URL = "https://download.pytorch.org/models/"

PUBLISHED: dict[str, Published] = {
    "vgg11": Published(_URL + "vgg11-8a719046.pth", license="BSD-3-Clause", top1=69.02),
    "vgg13": Published(_URL + "vgg13-19584684.pth", license="BSD-3-Clause", top1=69.928),
    "vgg16": Published(_URL + "vgg16-397923af.pth", license="BSD-3-Clause", top1=71.592),
    "vgg19": Published(_URL + "vgg19-dcbb9e9d.pth", license="BSD-3-Clause", top1=72.376),
    "vgg11_bn": Published(_URL + "vgg11_bn-6002323d.pth", license="BSD-3-Clause", top1=70.37),
    "vgg13_bn": Published(_URL + "vgg13_bn-abd245e5.pth", license="BSD-3-Clause", top1=71.586),
    "vgg16_bn": Published(_URL + "vgg16_bn-6c64b313.pth", license="BSD-3-Clause", top1=73.36),
    "vgg19_bn": Published(_URL + "vgg19_bn-c79401a0.pth", license="BSD-3-Clause", top1=74.218),
}
