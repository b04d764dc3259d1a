"""DETECTORS: networks that find objects, each with a box and a class."""

from utils.registry import Row, Table
from utils.spec import Spec, parse_specs

_YOLOX = "anchor-free, one of six sizes that share their design (arXiv 2107.08430)"

DETECTORS = Table(
    "detector",
    {
        **{f"yolox_{size}": Row(f"models.detectors.yolox:yolox_{size}", f"YOLOX-{size}: {_YOLOX}") for size in ("nano", "tiny", *"smlx")},
        "yolox": Row(
            "models.detectors.on_encoder:yolox", "the anchor-free head on any --encoder and --neck: yolox(width=0.5, depthwise=False)"
        ),
    },
)
# What stands between an encoder and the anchor-free head unless --neck names another.
NECK = "pan(channels=128)"


def is_object_detector(arch: str) -> bool:
    """Whether --arch names a row of DETECTORS, with or without arguments."""
    return arch.partition("(")[0].strip() in DETECTORS


def takes_encoder(arch: str) -> bool:
    """Whether the detector looks through an encoder that can be chosen."""
    return arch.partition("(")[0].strip() == "yolox"


def read_object_detector(arch: str) -> Spec:
    """Return the name and the arguments of a detector.

    Raises:
        UserError: there is no such detector.
    """
    (spec,) = parse_specs(arch)
    DETECTORS.check(spec.name)
    return spec
