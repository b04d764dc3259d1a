"""A measured segmenter, as its report takes it: the counts of every image, and what follows from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from applications.report.measured import Measured
from applications.tasks.mask_figures import ClassPixels
from applications.tasks.mask_rows import AREAS, MaskRows, figures_of
from applications.tasks.segment import Segment
from utils.metrics.statistics import Interval, bootstrap, distinct_units

# Figures in metrics.json -> as they are shown.
NAMES = {"mIoU": "mIoU", "pixel_accuracy": "pixel accuracy", "dice": "Dice", "boundary_f1": "boundary F1"}
RESAMPLES = 1000
# Numbers that a resampling adds up; of more images or classes fewer draws are made.
MOST_SUMS = 4_000_000_000


@dataclass(frozen=True, kw_only=True)
class MeasuredMasks(Measured):
    """A measured segmenter.

    Attributes:
        meter: with the counts of every image.
        answer: position of an image -> the mask that is answered, uint8 (H, W).
    """

    task: Segment
    meter: MaskRows
    answer: Callable[[int], np.ndarray]

    @property
    def how_intervals(self) -> str:
        return "bootstrap over images, even on the scale of log odds"

    @cached_property
    def rows(self) -> tuple[list[int], np.ndarray]:
        """The positions of the images and their counts, int64 (N, 7, C)."""
        return self.meter.table_of_rows()

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """The figures, then 'IoU of' every class that occurs, with their 95% intervals over images, or over their groups."""
        positions, rows = self.rows
        flat, shape = rows.reshape(len(rows), -1).astype(np.float64), rows.shape[1:]
        occurs = rows.sum(0)[1] > 0

        def figures(times: np.ndarray) -> Mapping[str, float]:
            total = (times @ flat).reshape(shape)
            pixels = ClassPixels(*total[AREAS])
            # A draw may lack a class, which then has no figure.
            iou = np.where(pixels.occurs, pixels.iou(), np.nan)
            return {**figures_of(total), **{f"IoU of {self.classes[number]}": float(iou[number]) for number in np.flatnonzero(occurs)}}

        groups = None if self.groups is None else np.unique(self.groups[positions], return_inverse=True)[1]
        draws = int(min(RESAMPLES, max(100, MOST_SUMS // flat.size)))
        names = list(figures(np.ones(len(rows))))
        shown = {f"IoU of {self.classes[number]}": distinct_units(rows[:, 1, number] > 0, groups) for number in np.flatnonzero(occurs)}
        return bootstrap(figures, len(rows), seed=self.seed, shares=names, evidence=shown, groups=groups, resamples=draws)
