"""ANOMALY_DETECTORS: methods that learn from good images alone what is normal, on the maps of an encoder, without gradients."""

from utils.registry import Row, Table
from utils.spec import Spec, parse_specs

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


def is_anomaly_detector(arch: str) -> bool:
    """Whether --arch names a row of ANOMALY_DETECTORS, with or without arguments."""
    return arch.partition("(")[0].strip() in ANOMALY_DETECTORS


def read_anomaly_detector(arch: str) -> Spec:
    """Return the name and the arguments of a detector.

    Raises:
        UserError: there is no such detector.
    """
    (spec,) = parse_specs(arch)
    ANOMALY_DETECTORS.check(spec.name)
    return spec
