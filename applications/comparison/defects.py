"""What --compare looks at of detectors of defects: the rank of each image by its score."""

from collections.abc import Mapping

import numpy as np

from applications.assemble import Machine
from applications.comparison.paired_images import Counted
from applications.contract import Task
from applications.tasks.defect_meter import DefectMeter
from applications.tasks.defect_pixels import area_under_roc
from applications.trained.checkpoint import Trained
from applications.trained.inference import measure_split
from dataloader.splits.split import Split
from utils.errors import UserError


def count_defects(trained: Trained, split: Split, task: Task, machine: Machine) -> Counted:
    """Return the ranks of all images.

    Raises:
        UserError: all images have defects, or none has.
    """
    meter = measure_split(trained, split, task, machine)
    assert isinstance(meter, DefectMeter)
    images = meter.images
    if images.bad.all() or not images.bad.any():
        raise UserError("detectors are compared by images with defects and good ones, and this split has one kind alone")
    # Detectors have scales of their own; ranks have one, and the same AUROC.
    _, places, counts = np.unique(images.scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places][:, None]
    return Counted(images.indices.tolist(), images.kinds, ranks, Auroc(images.bad))


class Auroc:
    """The function of `Counted.figures` for ranks of images, bad or not, (N,)."""

    def __init__(self, bad: np.ndarray) -> None:
        self.bad = bad

    def __call__(self, times: np.ndarray, rows: np.ndarray) -> Mapping[str, float]:
        ranks = np.unique(rows[:, 0], return_inverse=True)[1]
        good, bad = (np.bincount(ranks, times * part, minlength=ranks.max() + 1) for part in (~self.bad, self.bad))
        return {"AUROC": area_under_roc(good, bad)}
