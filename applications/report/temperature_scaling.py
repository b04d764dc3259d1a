"""What the temperature does to the probabilities of labels, shown on images that it was not fitted on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from applications.report.measured_labels import MeasuredLabels
from applications.tasks.label_prediction import row_chunks
from dataloader.batch.targets import to_dense
from utils.metrics.calibration import cross_fitted


def everything(probabilities: Tensor) -> tuple[np.ndarray]:
    """Return probabilities (N, C) as they are."""
    return (probabilities.numpy(),)


@dataclass(frozen=True)
class Scaled:
    """Arrays of the probabilities, and losses (N,), before and after temperature scaling; cross-fitted on the validation images.

    Attributes:
        before, after: arrays (N, ...).
        note: what the temperature was fitted on.
    """

    before: tuple[np.ndarray, ...]
    after: tuple[np.ndarray, ...]
    loss_before: np.ndarray
    loss_after: np.ndarray
    note: str


def scale(material: MeasuredLabels, kept: Callable[[Tensor], tuple[np.ndarray, ...]]) -> Scaled:
    """Return the effect of temperature scaling on images that it was not fitted on.

    On the validation images themselves, each image gets a temperature that was fitted on four fifths of the others.

    Args:
        material: the measured model.
        kept: probabilities (n, C) of some images -> the arrays to keep of them, (n, ...).
    """
    criterion, prediction = material.task.criterion, material.prediction
    temperatures, note = _temperatures(material)
    before, after, losses = [], [], []
    # In chunks of rows, so that there is no second table of all images.
    for rows in row_chunks(prediction.logits):
        logits = prediction.logits[rows]
        scaled = logits / (temperatures[rows] if temperatures.ndim else temperatures)
        before.append(kept(criterion.probabilities(logits).nan_to_num(0.0)))
        after.append(kept(criterion.probabilities(scaled).nan_to_num(0.0)))
        losses.append(criterion.plain(scaled, to_dense(prediction.targets[rows], scaled.shape[1])).numpy())
    unscaled, divided = (tuple(np.concatenate(parts) for parts in zip(*each, strict=True)) for each in (before, after))
    return Scaled(unscaled, divided, prediction.losses.numpy(), np.concatenate(losses), note)


def _temperatures(material: MeasuredLabels) -> tuple[Tensor, str]:
    """Return the temperature, a number or (N, 1), and a note on the images that it was fitted on."""
    prediction, stored = material.prediction, material.trained.calibration.temperature
    if material.is_fitted_here:
        targets, activation = prediction.targets.numpy(), material.task.criterion.activation
        fitted = cross_fitted(prediction.logits.numpy(), targets, activation, material.groups)
        temperatures = torch.from_numpy(fitted).float()[:, None]
        note = (
            f"The stored temperature, {stored:.3f}, was fitted on these same validation images. So that the figures "
            "do not flatter it, each image is scaled here with a temperature that was fitted on the other four fifths of them."
        )
    else:
        temperatures = torch.tensor(stored)
        note = f"The temperature, {stored:.3f}, was fitted on the validation images of the run, not on these."
    if material.views:
        note += " It was fitted on single views, and is applied here to the mean of several."
    return temperatures, note
