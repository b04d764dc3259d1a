"""A measured anomaly detector, as its report takes it: scores and heat maps of every image."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from applications.report.measured import Measured
from applications.tasks.anomaly import Anomaly
from applications.tasks.defect_meter import DefectMeter
from applications.trained.defects import ImageAnomalyDetector
from utils.metrics.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class MeasuredDefects(Measured):
    """A measured detector.

    Attributes:
        meter: with the scores of all images, and counts of pixels.
        heat: answers for single images.
    """

    task: Anomaly
    meter: DefectMeter
    heat: ImageAnomalyDetector

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """The figures with their 95% intervals over images, or over their groups."""
        groups = None if self.groups is None else np.unique(self.groups[self.meter.images.indices], return_inverse=True)[1]
        return self.meter.intervals(groups)
