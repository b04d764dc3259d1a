"""Path aggregation network (arXiv 1803.01534)."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.layers.conv_norm_act import ConvNormAct
from models.necks.fpn import FPN
from models.necks.neck import Neck, cut


class PAN(Neck):
    """An FPN, then a bottom-up path: what the largest map knows of places reaches the smallest over a few convolutions.

    N1 = P1; N(i + 1) = conv(P(i + 1) + conv of stride 2 (N(i))), with batch norm and ReLU after every convolution.

    Args:
        info: the maps that enter; as many come out, at the same strides.
        channels: width of all maps that come out.
        inner: kind of the FPN, see there.

    Raises:
        UserError: maps that do not halve.
    """

    def __init__(self, info: Sequence[FeatureInfo], channels: int = 256, *, inner: bool = False) -> None:
        super().__init__()
        self.fpn = FPN(info, channels, inner=inner)
        self.feature_info = self.fpn.feature_info
        self.halvings = nn.ModuleList(ConvNormAct(channels, channels, stride=2) for _ in self.feature_info[1:])
        self.outputs = nn.ModuleList(ConvNormAct(channels, channels) for _ in self.feature_info[1:])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        pyramid = self.fpn(maps)
        below: list[Tensor] = []
        outputs = [pyramid[0]]
        for i, (halving, output) in enumerate(zip(self.halvings, self.outputs)):  # noqa: B905  TorchScript's zip knows no 'strict'
            below.append(cut(halving(outputs[i]), pyramid[i + 1]))
            outputs.append(output(pyramid[i + 1] + below[i]))
        return outputs
