"""Necks: what stands between the maps of a backbone and a head that looks at several scales."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from utils.errors import UserError
from utils.registry import Row, Table
from utils.spec import SpecSource, parse_specs

if TYPE_CHECKING:
    from models.backbone import FeatureInfo
    from models.necks.neck import Neck

NECKS = Table(
    "neck",
    {
        "fpn": Row("models.necks.fpn:FPN", "top-down path (arXiv 1612.03144): fpn(channels=256); inner=True convolves on the way down"),
        "semantic_fpn": Row(
            "models.necks.semantic_fpn:SemanticFPN", "an FPN, joined to one large map (arXiv 1901.02446): semantic_fpn(channels=128)"
        ),
        "pan": Row("models.necks.pan:PAN", "an FPN, and a bottom-up path over it (arXiv 1803.01534): pan(channels=256)"),
        "bifpn": Row(
            "models.necks.bifpn:BiFPN",
            "layers down and up with learned weights (arXiv 1911.09070): bifpn(channels=64,layers=3); weighted=False, separable=False",
        ),
        "spp": Row("models.necks.spatial_pyramid:SPP", "max pools of 5, 9 and 13 pixels beside the last map (arXiv 1406.4729)"),
        "sppf": Row("models.necks.spatial_pyramid:SPPF", "the same by three pools of 5, one after the other"),
    },
)


def build_neck(source: SpecSource, info: "Sequence[FeatureInfo]") -> "Neck":
    """Build a neck, or a chain of them such as 'sppf|pan(channels=128)', for maps of this kind.

    Args:
        source: rows of NECKS with their arguments, or 'my_file.py:Class' that is called as Class(info, ...).
        info: the maps that enter, the largest first; the last four of a backbone's `feature_info` are what detectors use.

    Raises:
        UserError: an unknown name, arguments that it does not take, or maps that it cannot join.
    """
    from models.necks.neck import Chain

    necks = []
    for spec in parse_specs(source):
        kind = NECKS.resolve(spec.name)
        try:
            neck = kind(info, *spec.args, **spec.kwargs)
        except TypeError as error:
            raise UserError(f"neck {spec}: it cannot be built with these arguments ({error})") from error
        necks.append(neck)
        info = neck.feature_info
    return necks[0] if len(necks) == 1 else Chain(necks)
