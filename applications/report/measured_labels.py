"""A measured model of labels, one or several per image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from applications.calibration.promises import CONFIDENCE, Promise, ThresholdChoice
from applications.calibration.threshold_outcome import broken_by
from applications.report.measured import Measured
from applications.report.report_part import as_percent
from applications.tasks.label_prediction import Prediction
from applications.tasks.label_task import LabelTask
from utils.metrics.grouped_statistics import one_of_each

# Images, uint8 (H, W, 3), and the class to explain of each -> pictures with a heat map laid on, uint8 (h, w, 3).
Overlay = Callable[[Sequence[np.ndarray], Sequence[int]], Sequence[np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class MeasuredLabels(Measured):
    """A measured model of labels.

    Attributes:
        trained: the model, with the temperature and thresholds that were used.
        prediction: for all images, one row each in the order of the split.
        promise: what the thresholds guarantee; None for nothing.
        choice: the validation images behind that; None without a promise.
        overlay: draws heat maps next to the hardest images; None shows the images alone.
        vectors: index of an image -> the classifier's input, (D,), for the map of the images.
    """

    task: LabelTask
    prediction: Prediction
    promise: Promise | None = None
    choice: ThresholdChoice | None = None
    overlay: Overlay | None = None
    vectors: Mapping[int, np.ndarray] = field(default_factory=dict)

    def choices(self) -> dict[str, str]:
        """Return temperature and promise."""
        return {"temperature": f"{self.trained.calibration.temperature:.4f}", "target": str(self.promise or "none")}

    def facts(self) -> dict[str, Any]:
        """Return the promise."""
        return {"target": str(self.promise) if self.promise else None}

    @property
    def is_fitted_here(self) -> bool:
        """Whether the temperature was fitted on these very images."""
        return self.split.name == "val" and (self.trained.config.evaluation.calibrate or not self.trained.other_data)

    @property
    def is_chosen_here(self) -> bool:
        """Whether the thresholds were chosen on these very images."""
        return self.is_fitted_here or (self.split.name == "val" and self.promise is not None)

    @cached_property
    def broken(self) -> dict[str, float]:
        """Group of classes -> share, where the promise is not kept on these images; empty on the images that chose the thresholds."""
        if self.promise is None or self.choice is None or self.is_chosen_here:
            return {}
        rows = self.separate
        targets, probabilities = self.prediction.targets.numpy()[rows], self.prediction.probabilities.numpy()[rows]
        return broken_by(self.promise, self.choice, targets, probabilities, self.classes)

    @property
    def separate(self) -> np.ndarray | slice:
        """Rows of independent images: all, or one of each group."""
        return slice(None) if self.groups is None else one_of_each(self.groups)

    def origin_of_thresholds(self) -> str:
        """Return a clause on what the thresholds were chosen for, and on which images."""
        promise = f"so that {self.promise} at {as_percent(CONFIDENCE, 0)} confidence, on " if self.promise is not None else "on "
        return f"chosen {promise}{'these same validation images' if self.is_chosen_here else 'the validation images, not on these'}"

    def file(self, row: int) -> str:
        """Return the path of an image below the root of its split."""
        return self.split.paths[int(self.prediction.indices[row])]
