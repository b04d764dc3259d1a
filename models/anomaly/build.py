"""The one way to build an anomaly detector: the method that --arch names, on the maps of an encoder."""

from models import build_model
from models.anomaly import ANOMALY_DETECTORS, read_anomaly_detector
from models.anomaly.anomaly_detector import AnomalyDetector
from models.segmenters.encoder import Encoder
from utils.errors import UserError

# The coarsest map of usual networks. It is not looked at; what computes it stays where a network cannot be cut before it.
LAST = 32


def build_anomaly_detector(arch: str, encoder: str) -> AnomalyDetector:
    """Return an unfitted anomaly detector on the maps of an encoder.

    Args:
        arch: such as 'padim' or 'patchcore(coreset=0.01)'.
        encoder: the network whose maps it looks at, as `build_model` takes it; its weights stay as they are.

    Raises:
        UserError: there is no such anomaly detector or encoder, or it does not take these arguments.
    """
    spec = read_anomaly_detector(arch)
    kind = ANOMALY_DETECTORS.resolve(spec.name)
    looks = Encoder(build_model(encoder, num_classes=1), encoder, strides=(*kind.strides, LAST))
    looks.shorten(len(kind.strides))
    try:
        return kind(looks, *spec.args, **spec.kwargs)
    except TypeError as error:
        raise UserError(f"--arch '{arch}': {str(error).partition('() ')[2] or error}; {ANOMALY_DETECTORS[spec.name].help}") from error
