"""AlexNet in its second form (arXiv 1404.5997), and ZFNet (arXiv 1311.2901), which looks closer: 7x7 pixels at stride 2.

AlexNet's names of tensors are torchvision's, so its published weights load. ZFNet keeps the normalization across channels of the paper.
"""

from torch import nn

from models.layers.chain_net import HIDDEN, ChainNet, init_chain
from models.published import Published

CELLS = 6


def _relu() -> nn.ReLU:
    return nn.ReLU(inplace=True)


def _contrast() -> nn.LocalResponseNorm:
    """The numbers of the AlexNet paper, which ZFNet keeps: 1e-4 for the sum over 5 channels; the layer takes it for the mean."""
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)


def alexnet() -> tuple[nn.Module, ...]:
    return (
        *(nn.Conv2d(3, 64, 11, 4, 2), _relu(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, 1, 2), _relu(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, 1, 1), _relu(), nn.Conv2d(384, 256, 3, 1, 1), _relu()),
        *(nn.Conv2d(256, 256, 3, 1, 1), _relu(), nn.MaxPool2d(3, 2)),
    )


def zfnet() -> tuple[nn.Module, ...]:
    return (
        *(nn.Conv2d(3, 96, 7, 2, 1), _relu(), nn.MaxPool2d(3, 2, 1), _contrast()),
        *(nn.Conv2d(96, 256, 5, 2), _relu(), nn.MaxPool2d(3, 2, 1), _contrast()),
        *(nn.Conv2d(256, 384, 3, 1, 1), _relu(), nn.Conv2d(384, 384, 3, 1, 1), _relu()),
        *(nn.Conv2d(384, 256, 3, 1, 1), _relu(), nn.MaxPool2d(3, 2)),
    )


# The layers, and the indices behind which a map stands.
VARIANTS = {"alexnet": (alexnet, (1, 4, 11, 12)), "zfnet": (zfnet, (1, 3, 5, 13, 14))}


class AlexNet(ChainNet):
    """A variant of the table. Maps: AlexNet's at strides 4, 8, 16 and 32; ZFNet's also at 2."""

    def __init__(self, arch: str, *, num_classes: int, drop_rate: float | None = None) -> None:
        layers, ends = VARIANTS[arch]
        rate = 0.5 if drop_rate is None else drop_rate
        classifier = nn.Sequential(
            *(nn.Dropout(rate), nn.Linear(256 * CELLS**2, HIDDEN), _relu()),
            *(nn.Dropout(rate), nn.Linear(HIDDEN, HIDDEN), _relu()),
            nn.Linear(HIDDEN, num_classes),
        )
        super().__init__(nn.Sequential(*layers()), ends=ends, cells=CELLS, classifier=classifier)
        init_chain(self)


PUBLISHED: dict[str, Published] = {
    "alexnet": Published("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", license="BSD-3-Clause", top1=56.522)
}
