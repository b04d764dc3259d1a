"""Figures of masks from counts of pixels: accuracy, IoU, Dice. Means go over the classes that occur in the truth.

IoU: Everingham et al.: The Pascal Visual Object Classes Challenge (IJCV 2010), section 4.1.3.
"""

from typing import NamedTuple

import numpy as np


class ClassPixels(NamedTuple):
    """Pixels of every class, counts (C,) or sums of them; pixels whose truth is not known are in none.

    Attributes:
        hit: answered rightly.
        real: by the truth.
        said: by the answer.
    """

    hit: np.ndarray
    real: np.ndarray
    said: np.ndarray

    @property
    def occurs(self) -> np.ndarray:
        """Whether each class occurs in the truth, bool (C,)."""
        return self.real > 0

    def iou(self) -> np.ndarray:
        """Return intersection over union of every class, (C,); 0 where neither truth nor answer has it."""
        return self.hit / np.maximum(self.real + self.said - self.hit, 1)

    def dice(self) -> np.ndarray:
        """Return twice the intersection over the sum of truth and answer, (C,): the F1 of pixels."""
        return 2 * self.hit / np.maximum(self.real + self.said, 1)

    def figures(self) -> dict[str, float]:
        """Return mIoU, pixel accuracy and mean Dice, as shares of one; 0 where nothing is known."""
        occurs = self.occurs
        means = {
            name: float(values[occurs].mean()) if occurs.any() else 0.0 for name, values in (("mIoU", self.iou()), ("dice", self.dice()))
        }
        accuracy = float(self.hit.sum() / max(1, self.real.sum()))
        return {"mIoU": means["mIoU"], "pixel_accuracy": accuracy, "dice": means["dice"]}


def pixels_of(matrix: np.ndarray) -> ClassPixels:
    """Return the counts of a confusion matrix (C, C), a row a true class."""
    return ClassPixels(np.diag(matrix), matrix.sum(1), matrix.sum(0))
