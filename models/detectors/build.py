"""The one way to build a detector: a network of its own, or a head on the encoder and the neck that the user names."""

from models import build_model, find_adapter, find_family
from models.detectors import DETECTORS, ENCODERS, NECK, has_anchors, is_object_detector, read_object_detector
from models.detectors.anchors import read_anchors
from models.detectors.detector import Detector
from models.segmenters.encoder import Encoder
from utils.errors import UserError
from utils.spec import Spec

# Of the maps that detectors look at.
STRIDES = (8, 16, 32)


def build_detector(
    arch: str,
    *,
    num_classes: int,
    encoder: str | None = None,
    neck: str | None = None,
    anchors: str | None = None,
    drop_path: float | None = None,
) -> Detector:
    """Build the detector `arch` with fresh weights.

    Args:
        arch: a row of DETECTORS, with its arguments.
        num_classes: classes of an object, at least 1.
        encoder: what `build_model` takes, for detectors that look through one; None for the usual one.
        neck: see `build_neck`; None for the usual one.
        anchors: see `read_anchors`, for detectors that have some; None for the published ones.
        drop_path: of the encoder, as in `build_model`.

    Raises:
        UserError: an unknown name, an encoder without the maps that are looked at, or arguments that cannot be used.
    """
    if not is_object_detector(arch):
        _refuse_others(arch)
    spec = read_object_detector(arch)
    if not has_anchors(arch):
        _refuse(arch, "has no anchors; leave it out, or take --arch yolov3", anchors=anchors)
    if spec.name not in ENCODERS:
        whole = "comes as a whole; leave it out, or take --arch yolox, the same head on any encoder"
        _refuse(arch, whole, encoder=encoder, neck=neck, drop_path=drop_path)
        return _call(spec, arch, num_classes=num_classes)
    name = encoder or ENCODERS[spec.name]
    if is_object_detector(name):
        raise UserError(f"--encoder {name} is a detector itself; name a classifier, such as resnet18")
    body = Encoder(build_model(name, num_classes=1, drop_path=drop_path), name, strides=STRIDES)
    if has_anchors(arch):
        _refuse(arch, "joins its maps in its own way; leave it out, or take --arch yolox", neck=neck)
        return _call(spec, arch, num_classes=num_classes, encoder=body, anchors=read_anchors(anchors))
    return _call(spec, arch, num_classes=num_classes, encoder=body, neck=neck or NECK)


def _refuse_others(arch: str) -> None:
    """Raise UserError for networks that are no detectors here."""
    package, _, name = arch.partition("/")
    if package == "torchvision" and any(each in name for each in ("rcnn", "ssd", "retinanet", "fcos")):
        raise UserError(f"{arch} keeps its losses and its answers to itself; take --arch yolox --encoder torchvision/resnet50")
    if find_family(arch) is not None or find_adapter(arch) is not None:
        raise UserError(f"{arch} gives an image its class, not boxes: write --arch yolox --encoder {arch}; see --list detectors")


def _refuse(arch: str, reason: str, **given: str | float | None) -> None:
    """Raise UserError for the first flag of a network that has no such part to choose."""
    for name, value in given.items():
        if value is not None:
            raise UserError(f"--{name} {value}: {arch} {reason}")


def _call(spec: Spec, arch: str, **parts: object) -> Detector:
    build = DETECTORS.resolve(spec.name)
    try:
        return build(arch, *spec.args, **parts, **spec.kwargs)
    except TypeError as error:
        raise UserError(f"--arch '{arch}': {str(error).partition('() ')[2] or error}; {DETECTORS[spec.name].help}") from error
