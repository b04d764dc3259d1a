"""The one way to build a detector: a network of its own, or a head on the encoder and the neck that the user names."""

from models import ENCODER, build_model
from models.detectors import DETECTORS, NECK, read_object_detector, takes_encoder
from models.detectors.detector import Detector
from models.segmenters.encoder import Encoder
from utils.errors import UserError
from utils.spec import Spec

# Of the maps that detectors look at.
STRIDES = (8, 16, 32)


def build_detector(
    arch: str, *, num_classes: int, encoder: str | None = None, neck: str | None = None, drop_path: float | None = None
) -> Detector:
    """Build the detector `arch` with fresh weights.

    Args:
        arch: a row of DETECTORS, with its arguments.
        num_classes: classes of an object, at least 1.
        encoder: what `build_model` takes, for detectors that look through one; None for the usual one.
        neck: see `build_neck`; None for the usual one.
        drop_path: of the encoder, as in `build_model`.

    Raises:
        UserError: an unknown name, an encoder without the maps that are looked at, or arguments that cannot be used.
    """
    spec = read_object_detector(arch)
    if not takes_encoder(arch):
        _refuse(arch, encoder=encoder, neck=neck, drop_path=drop_path)
        return _call(spec, arch, num_classes=num_classes)
    name = encoder or ENCODER
    if name in DETECTORS:
        raise UserError(f"--encoder {name} is a detector itself; name a classifier, such as {ENCODER}")
    body = Encoder(build_model(name, num_classes=1, drop_path=drop_path), name, strides=STRIDES)
    return _call(spec, arch, num_classes=num_classes, encoder=body, neck=neck or NECK)


def _refuse(arch: str, **given: str | float | None) -> None:
    """Raise UserError for the first flag of a network that has no such part to choose."""
    for name, value in given.items():
        if value is not None:
            raise UserError(f"--{name} {value}: {arch} comes as a whole; leave it out, or take --arch yolox, the same head on any encoder")


def _call(spec: Spec, arch: str, **parts: object) -> Detector:
    build = DETECTORS.resolve(spec.name)
    try:
        return build(arch, *spec.args, **parts, **spec.kwargs)
    except TypeError as error:
        raise UserError(f"--arch '{arch}': {str(error).partition('() ')[2] or error}; {DETECTORS[spec.name].help}") from error
