"""DETECTORS: methods that learn from good images alone what is normal, on the maps of an encoder, without gradients."""

from typing import TYPE_CHECKING

from utils.errors import UserError
from utils.registry import Row, Table
from utils.spec import Spec, parse_specs

if TYPE_CHECKING:
    from models.anomaly.detector import Detector

DETECTORS = Table(
    "anomaly detector",
    {
        "padim": Row(
            "models.anomaly.padim:PaDiM",
            "a Gaussian of good features at every place (arXiv 2011.08785): padim(dims=100,projection=random,shrinkage=0.01,smoothing=4)",
        ),
        "patchcore": Row(
            "models.anomaly.patchcore:PatchCore",
            "distance to the nearest of chosen good features (arXiv 2106.08265): patchcore(coreset=0.1,smoothing=4)",
        ),
    },
)


def is_detector(arch: str) -> bool:
    """Whether --arch names a row of DETECTORS, with or without arguments."""
    return arch.partition("(")[0].strip() in DETECTORS


def read_detector(arch: str) -> Spec:
    """Return the name and the arguments of a detector.

    Raises:
        UserError: there is no such detector.
    """
    (spec,) = parse_specs(arch)
    DETECTORS.check(spec.name)
    return spec


def build_detector(arch: str, encoder: str) -> "Detector":
    """Return an unfitted detector on the maps of an encoder.

    Args:
        arch: such as 'padim' or 'patchcore(coreset=0.01)'.
        encoder: the network whose maps it looks at, as `build_model` takes it; its weights stay as they are.

    Raises:
        UserError: there is no such detector or encoder, or it does not take these arguments.
    """
    from models import build_model
    from models.segmenters.encoder import Encoder

    spec = read_detector(arch)
    kind = DETECTORS.resolve(spec.name)
    looks = Encoder(build_model(encoder, num_classes=1), encoder, strides=kind.strides)
    try:
        return kind(looks, *spec.args, **spec.kwargs)
    except TypeError as error:
        raise UserError(f"--arch '{arch}': {str(error).partition('() ')[2] or error}; {DETECTORS[spec.name].help}") from error
