"""What is counted of masks while images come: one confusion matrix of all pixels, whatever the number of images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from applications.tasks.mask_figures import ClassPixels, pixels_of
from criterions.elementwise import ActivationName
from dataloader.sample import Batch
from dataloader.targets.mask import IGNORE


def pixel_losses(logits: Tensor, truth: Tensor, activation: ActivationName) -> Tensor:
    """Return the cross entropy of some pixels, softmax or binary, summed over the classes: (M,).

    Args:
        logits: (M, C).
        truth: int64 (M,).
        activation: what the network's answers are.
    """
    if activation == "softmax":
        return torch.nn.functional.cross_entropy(logits, truth, reduction="none")
    wanted = torch.nn.functional.one_hot(truth, logits.shape[1]).to(logits.dtype)
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(1)


def count_pairs(truth: Tensor, answer: Tensor, classes: int) -> Tensor:
    """Return how many pixels of each class were answered with each, int64 (C, C), for class numbers (M,)."""
    return torch.bincount(truth * classes + answer, minlength=classes * classes).reshape(classes, classes)


class MaskCounts(NamedTuple):
    """What a `MaskMeter` has counted: plain arrays, to be sent to another process."""

    matrix: np.ndarray
    loss: float


class MaskMeter:
    """Counts pixels at the size of the network. Sums are integers, so they are the same over any number of processes.

    Args:
        classes: names.
        activation: of the network's answers, by which the loss is measured.
    """

    def __init__(self, classes: Sequence[str], activation: ActivationName) -> None:
        self.classes = tuple(classes)
        self.activation: ActivationName = activation
        self._matrix = torch.zeros((len(self.classes),) * 2, dtype=torch.int64)
        self._loss = torch.zeros((), dtype=torch.float64)

    def update(self, batch: Batch, outputs: Tensor) -> None:
        """Count a batch: masks (N, H, W) and logits (N, C, H, W). Nothing is read from the device."""
        assert isinstance(batch.targets, Tensor)
        real = batch.indices >= 0
        truth = batch.targets[real].flatten().long()
        known = truth != IGNORE
        logits, truth = outputs[real].movedim(1, -1).flatten(0, -2)[known], truth[known]
        self._matrix = self._matrix.to(truth.device) + count_pairs(truth, logits.argmax(1), len(self.classes))
        self._loss = self._loss.to(truth.device) + pixel_losses(logits, truth, self.activation).sum(dtype=torch.float64)

    @property
    def matrix(self) -> np.ndarray:
        """Pixels of each class that were answered with each, int64 (C, C), a row a true class."""
        return self._matrix.cpu().numpy()

    def state(self) -> MaskCounts:
        """Return what was counted."""
        return MaskCounts(self.matrix, float(self._loss))

    def merge(self, state: MaskCounts) -> None:
        """Count what another process has counted."""
        matrix, loss = state
        self._matrix = self._matrix + torch.from_numpy(matrix).to(self._matrix.device)
        self._loss = self._loss + loss

    @property
    def pixels(self) -> ClassPixels:
        """Pixels of every class, over all images."""
        return pixels_of(self.matrix)

    def figures(self) -> dict[str, float]:
        """Return the mean loss of a known pixel, mIoU, pixel accuracy and mean Dice."""
        pixels = self.pixels
        return {"loss": float(self._loss) / max(1, int(pixels.real.sum())), **pixels.figures()}

    def one_answer(self) -> str:
        """Return the clause where all pixels get the same class although they have several."""
        pixels = self.pixels
        found = np.flatnonzero(pixels.said)
        alike = len(found) == 1 and pixels.occurs.sum() > 1
        return f"all pixels are answered '{self.classes[found[0]]}'" if alike else ""
