"""A measured detector, as a report takes it: the boxes of every image, and what follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from applications.report.measured import Measured
from applications.tasks.box_meter import BoxMeter
from applications.tasks.detect import Detect
from utils.metrics.box_curves import BoxCurves, ClassFigures, box_curves, class_figures
from utils.metrics.box_errors import BoxErrors, find_errors
from utils.metrics.box_reliability import BoxReliability, box_reliability
from utils.metrics.box_resampling import ResampledPrecision, headline_figures
from utils.metrics.statistics import Interval, bootstrap, distinct_units

HEADLINE = ("AP", "AP50", "AP75")
RESAMPLES, FEWEST_RESAMPLES = 1000, 100
# Numbers that a resampling adds up; of more answers or classes fewer draws are made.
MOST_SUMS = 1_500_000_000


@dataclass(frozen=True, kw_only=True)
class MeasuredBoxes(Measured):
    """A measured detector.

    Attributes:
        meter: with the boxes of every image, in its own pixels.
    """

    task: Detect
    meter: BoxMeter

    @property
    def how_intervals(self) -> str:
        return "bootstrap over images, even on the scale of log odds"

    def choices(self) -> dict[str, str]:
        """Return which boxes are answered."""
        choice = self.task.choice
        others = "of any class" if choice.agnostic else "of its class"
        dropped = f"a box drops those {others} that it overlaps by more than {choice.overlap:g}"
        promised = f" ({self.task.promise})" if self.task.promise else ""
        least = f"{self.task.confidence:.3f}{promised}; {dropped}; at most {choice.most} boxes an image"
        return {"least score": least, "temperature of scores": f"{self.task.temperature:.4f}"}

    @property
    def confident(self) -> np.ndarray:
        """Whether each answer of the meter reaches the confidence, bool (N,)."""
        return self.meter.answers.scores >= np.float32(self.task.confidence)

    @cached_property
    def classes_at_confidence(self) -> ClassFigures:
        """Precision, recall and F1 of every class."""
        return class_figures(self.meter.matches, len(self.classes), self.task.confidence)

    @cached_property
    def at_confidence(self) -> dict[str, float]:
        """Precision and recall of all boxes together, and the mean F1 of the classes that occur."""
        at = self.classes_at_confidence
        found, occurs = int(at.found.sum()), at.real > 0
        return {
            "precision": found / max(1, int(at.said.sum())),
            "recall": found / max(1, int(at.real.sum())),
            "F1": float(at.f1[occurs].mean()) if occurs.any() else 0.0,
        }

    @cached_property
    def curves(self) -> BoxCurves:
        """Precision and recall by the least score."""
        return box_curves(self.meter.matches, len(self.classes))

    @cached_property
    def errors(self) -> BoxErrors:
        """Why answers are wrong, of all."""
        return find_errors(self.meter.truths, self.meter.answers)

    @cached_property
    def errors_at_confidence(self) -> BoxErrors:
        """Why answers are wrong, of those that reach the confidence."""
        return find_errors(self.meter.truths, self.meter.answers.rows(self.confident))

    @cached_property
    def reliability(self) -> BoxReliability:
        """What the scores of answers that reach the confidence mean."""
        return box_reliability(self.meter.matches, self.task.confidence)

    @cached_property
    def calibration_error(self) -> Interval:
        """D-ECE of the answers that reach the confidence, with its 95% interval over images, or over their groups."""
        return self.reliability.interval(len(self.meter.rows), seed=self.seed, groups=self._own_groups)

    @property
    def _own_groups(self) -> np.ndarray | None:
        """Number of the group of every measured image, from 0; None where they are independent."""
        return None if self.groups is None else np.unique(self.groups[self.meter.positions], return_inverse=True)[1]

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """AP, AP50 and AP75, then 'AP of' every class that occurs, with their 95% intervals over images, or over their groups."""
        count = len(self.meter.rows)
        resampled = ResampledPrecision(self.meter.matches, len(self.classes))
        occurs = np.flatnonzero(resampled.occurs)

        def figures(times: np.ndarray) -> Mapping[str, float]:
            found = resampled(times)
            own = found.mean(1)
            return {**headline_figures(found), **{f"AP of {self.classes[number]}": float(own[number]) for number in occurs}}

        draws = int(min(RESAMPLES, max(FEWEST_RESAMPLES, MOST_SUMS // max(1, resampled.cost))))
        shares = list(figures(np.ones(count, np.int64)))
        groups = self._own_groups
        shown = {
            f"AP of {self.classes[number]}": distinct_units(np.isin(np.arange(count), resampled.images[number]), groups)
            for number in occurs
        }
        return bootstrap(figures, count, seed=self.seed, shares=shares, evidence=shown, groups=groups, resamples=draws)

    @property
    def headline(self) -> dict[str, Interval]:
        """The intervals of AP, AP50 and AP75."""
        return {name: self.intervals[name] for name in HEADLINE}
