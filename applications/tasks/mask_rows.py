"""Measures masks at the size of the original images, with a row of counts for each, for intervals and for the images to look at."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from applications.tasks.mask_answers import Band, bands_of
from applications.tasks.mask_figures import ClassPixels
from applications.tasks.mask_meter import MaskMeter, count_pairs, pixel_losses
from criterions.elementwise import ACTIVATIONS, ActivationName
from dataloader.images.preprocess import Preprocess
from dataloader.sample import Batch
from dataloader.targets.mask import IGNORE, Mask
from dataloader.targets.target import Target
from dataloader.targets.whole_mask import WholeMasks
from utils.metrics.boundaries import BoundaryPixels, boundary_pixels
from utils.metrics.calibration import BINS

# Rows of an image's counts: those of ClassPixels, then those of BoundaryPixels.
AREAS, OUTLINES = slice(0, 3), slice(3, 7)


class RowCounts(NamedTuple):
    """What a `MaskRows` has counted: plain arrays, to be sent to another process."""

    matrix: np.ndarray
    loss: float
    bins: np.ndarray
    rows: dict[int, np.ndarray]


def figures_of(rows: np.ndarray) -> dict[str, float]:
    """Return mIoU, pixel accuracy, mean Dice and mean boundary F1 of counts (7, C), those of one image or a sum of several."""
    f1 = BoundaryPixels(*rows[OUTLINES]).f1()
    outlined = np.isfinite(f1)
    return {**ClassPixels(*rows[AREAS]).figures(), "boundary_f1": float(f1[outlined].mean()) if outlined.any() else 0.0}


class MaskRows(MaskMeter):
    """Counts pixels at the size of the original image, whatever the network saw.

    Args:
        classes: names.
        activation: of the network's answers.
        preprocess: how the image became what the network saw.

    Attributes:
        rows: position of an image -> its counts, int64 (7, C).
        bins: of the answers by their probability: number, sum of the probabilities and right ones, float64 (3, BINS).
    """

    def __init__(self, classes: Sequence[str], activation: ActivationName, preprocess: Preprocess) -> None:
        super().__init__(classes, activation)
        self.preprocess = preprocess
        self.rows: dict[int, np.ndarray] = {}
        self.bins = np.zeros((3, BINS))

    def update(self, batch: Batch, outputs: Tensor) -> None:
        """Count a batch: logits (N, C, H, W), against masks as large as their images."""
        assert isinstance(batch.targets, WholeMasks)
        for index, logits, ids in zip(batch.indices.tolist(), outputs, batch.targets.ids, strict=True):
            if index >= 0:
                size = (ids.shape[0], ids.shape[1])
                self.compare(index, bands_of(logits, self.preprocess.change(size).undone(size)), Mask(ids))

    def compare(self, index: int, bands: Iterable[Band], mask: Target) -> None:
        """Count the image at a position, by its logits and its mask."""
        assert isinstance(mask, Mask)
        self.rows[index] = self._compare(bands, mask.ids)

    def _compare(self, bands: Iterable[Band], truth: np.ndarray) -> np.ndarray:
        """Count an image; return its row."""
        size, classes = (truth.shape[0], truth.shape[1]), len(self.classes)
        answer = np.empty(size, np.uint8)
        own = np.zeros((classes, classes), np.int64)
        for band in bands:
            real = torch.from_numpy(truth[band.rows].astype(np.int64)).to(band.logits.device).flatten()
            rows = band.logits.flatten(1).T
            confidence, said = ACTIVATIONS[self.activation].probabilities(rows).max(1)
            answer[band.rows] = said.to(torch.uint8).reshape(-1, size[1]).cpu().numpy()
            known = real != IGNORE
            rows, real, said, confidence = rows[known], real[known], said[known], confidence[known]
            own += count_pairs(real, said, classes).cpu().numpy()
            self._loss = self._loss.to(rows.device) + pixel_losses(rows, real, self.activation).sum(dtype=torch.float64)
            self._bin(confidence, said == real)
        self._matrix = self._matrix + torch.from_numpy(own)
        areas = ClassPixels(np.diag(own), own.sum(1), own.sum(0))
        return np.stack([*areas, *boundary_pixels(truth, answer, truth != IGNORE, classes)]).astype(np.int64)

    def _bin(self, confidence: Tensor, right: Tensor) -> None:
        place = (confidence * BINS).long().clamp(0, BINS - 1)
        for row, weights in enumerate((None, confidence.double(), right.double())):
            self.bins[row] += torch.bincount(place, weights, minlength=BINS).cpu().numpy()

    def state(self) -> RowCounts:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return what was counted."""
        return RowCounts(self.matrix, float(self._loss), self.bins, self.rows)

    def merge(self, state: RowCounts) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Count what another process has counted."""
        super().merge(state[:2])  # pyright: ignore[reportArgumentType]
        self.bins = self.bins + state.bins
        self.rows |= state.rows

    def table_of_rows(self) -> tuple[list[int], np.ndarray]:
        """Return the positions of the images, ascending, and their counts, int64 (N, 7, C)."""
        positions = sorted(self.rows)
        return positions, np.stack([self.rows[position] for position in positions])

    def figures(self) -> dict[str, float]:
        """Return the mean loss of a known pixel, mIoU, pixel accuracy, mean Dice and boundary F1."""
        total = self.table_of_rows()[1].sum(0)
        return {"loss": float(self._loss) / max(1, int(self.pixels.real.sum())), **figures_of(total)}
