"""Feature pyramid network (arXiv 1612.03144)."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.layers.conv_norm_act import ConvNormAct
from models.necks.neck import Neck, enlarged, halving, same_width


class FPN(Neck):
    """A top-down path: every map is joined with the enlarged sum of the smaller ones, which know more of what is seen.

    Args:
        info: the maps that enter; as many come out, at the same strides.
        channels: width of all maps that come out.
        inner: as vision-toolbox has it: a convolution with batch norm and ReLU on the way down, after each sum, and none for
            the smallest map. Without it, as in the paper: plain sums, and a bare 3x3 convolution for each map that comes out.

    Raises:
        UserError: maps that do not halve.
    """

    def __init__(self, info: Sequence[FeatureInfo], channels: int = 256, *, inner: bool = False) -> None:
        super().__init__()
        info = halving(info, neck="fpn")
        self.feature_info = same_width(info, channels)
        self.inner = inner
        self.laterals = nn.ModuleList(nn.Conv2d(each.channels, channels, 1) for each in info)
        if inner:
            # In the order of the way down; the smallest map has none.
            self.outputs = nn.ModuleList(ConvNormAct(channels, channels) for _ in info[1:])
        else:
            self.outputs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in info)
            _init_bare(self.outputs)
        _init_bare(self.laterals)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        laterals: list[Tensor] = []
        for i, lateral in enumerate(self.laterals):
            laterals.append(lateral(maps[i]))
        return self._inner(laterals) if self.inner else self._plain(laterals)

    def _plain(self, laterals: list[Tensor]) -> list[Tensor]:
        sums = [laterals[-1]]
        for level in range(len(laterals) - 2, -1, -1):
            sums.append(laterals[level] + enlarged(sums[-1], laterals[level]))
        sums.reverse()
        outputs: list[Tensor] = []
        for i, output in enumerate(self.outputs):
            outputs.append(output(sums[i]))
        return outputs

    def _inner(self, laterals: list[Tensor]) -> list[Tensor]:
        outputs = [laterals[-1]]
        for i, output in enumerate(self.outputs):
            lateral = laterals[len(laterals) - 2 - i]
            outputs.append(output(lateral + enlarged(outputs[-1], lateral)))
        outputs.reverse()
        return outputs


def _init_bare(layers: nn.ModuleList) -> None:
    """Keep the spread of what goes through convolutions without activation (Xavier's for equal widths)."""
    for layer in layers:
        assert isinstance(layer, nn.Conv2d)
        nn.init.kaiming_uniform_(layer.weight, a=1)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
