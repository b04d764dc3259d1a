"""A detector of defects's answers for whole images, at their own size."""

from dataclasses import dataclass

from applications.tasks.anomaly import Anomaly, DefectAnswer
from applications.trained.image_model import ImageModel


@dataclass(frozen=True)
class ImageAnomalyDetector(ImageModel[Anomaly, DefectAnswer]):
    """Answers with heat of the sizes of the images."""
