"""What --compare looks at of segmenters: the counts of pixels of each image."""

from collections.abc import Mapping

import numpy as np

from applications.assemble import Machine
from applications.comparison.paired_images import Counted
from applications.contract import Task
from applications.tasks.mask_rows import figures_of
from applications.tasks.segment import Segment
from applications.trained.checkpoint import Trained
from applications.trained.masks import ImageSegmenter, is_tiled
from applications.trained.measure_masks import measure_masks
from dataloader.splits.split import Split


def count_masks(trained: Trained, split: Split, task: Task, machine: Machine) -> Counted:
    """Return the counts of all images."""
    assert isinstance(task, Segment)
    positions, rows = measure_masks(ImageSegmenter(trained, task, machine, is_tiled(trained)), split).table_of_rows()
    truth = tuple(tuple(row[1].tolist()) for row in rows)
    return Counted(positions, truth, rows.reshape(len(rows), -1).astype(np.float64), OfMasks(len(trained.classes)))


class OfMasks:
    """The function of `Counted.figures` for counts of pixels, (N, 7 C)."""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def __call__(self, times: np.ndarray, rows: np.ndarray) -> Mapping[str, float]:
        return figures_of((times @ rows).reshape(7, self.classes))
