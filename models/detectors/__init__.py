"""DETECTORS: networks that find objects, each with a box and a class."""

from collections.abc import Mapping
from types import MappingProxyType

from utils.registry import Row, Table
from utils.spec import Spec, base_name, parse_specs

_YOLOX = "anchor-free, one of six sizes that share their design (arXiv 2107.08430)"

DETECTORS = Table(
    "detector",
    {
        **{f"yolox_{size}": Row(f"models.detectors.yolox:yolox_{size}", f"YOLOX-{size}: {_YOLOX}") for size in ("nano", "tiny", *"smlx")},
        "yolox": Row(
            "models.detectors.encoder_detector:yolox", "the anchor-free head on any --encoder and --neck: yolox(width=0.5, depthwise=False)"
        ),
        "yolov3": Row(
            "models.detectors.yolov3:yolov3", "three anchors at each of three scales, on Darknet-53 or any --encoder (arXiv 1804.02767)"
        ),
        "yolov3_spp": Row(
            "models.detectors.yolov3:yolov3_spp", "the same, its coarsest map seen through max pools of 5, 9 and 13 pixels, too"
        ),
    },
)
# Of the coarsest map that detectors look at, in pixels.
LARGEST_STRIDE = 32
# What stands between an encoder and the anchor-free head unless --neck names another.
NECK = "pan(channels=128)"
# The encoder of a detector that looks through one, unless another is named.
ENCODERS: Mapping[str, str] = MappingProxyType({"yolox": "resnet18", "yolov3": "darknet53", "yolov3_spp": "darknet53"})


def is_object_detector(arch: str) -> bool:
    """Whether --arch names a row of DETECTORS, with or without arguments."""
    return base_name(arch) in DETECTORS


def has_anchors(arch: str) -> bool:
    """Whether the detector begins with anchors, which can be chosen."""
    return base_name(arch).startswith("yolov3")


def read_object_detector(arch: str) -> Spec:
    """Return the name and the arguments of a detector.

    Raises:
        UserError: there is no such detector.
    """
    (spec,) = parse_specs(arch)
    DETECTORS.check(spec.name)
    return spec
