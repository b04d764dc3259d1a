"""ANOMALY_DETECTORS: methods that learn from good images alone what is normal, on the maps of an encoder, without gradients."""

from collections.abc import Mapping
from types import MappingProxyType

from utils.registry import Row, Table
from utils.spec import Spec, base_name, parse_specs

ANOMALY_DETECTORS = Table(
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


# The encoder that an anomaly detector looks through unless another is named.
ENCODER = "resnet18"
ENCODERS: Mapping[str, str] = MappingProxyType(dict.fromkeys(ANOMALY_DETECTORS, ENCODER))


def is_anomaly_detector(arch: str) -> bool:
    """Whether --arch names a row of ANOMALY_DETECTORS, with or without arguments."""
    return base_name(arch) in ANOMALY_DETECTORS


def read_anomaly_detector(arch: str) -> Spec:
    """Return the name and the arguments of an anomaly detector.

    Raises:
        UserError: there is none of this name.
    """
    (spec,) = parse_specs(arch)
    ANOMALY_DETECTORS.check(spec.name)
    return spec
