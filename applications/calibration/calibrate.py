"""Temperature and thresholds of a trained model, chosen on its validation images and stored with its weights."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from applications.calibration.promises import Promise, ThresholdChoice, choose_rejection, choose_thresholds
from applications.calibration.threshold_outcome import Answers, judge, kept_together, named_together
from applications.tasks.label_prediction import Prediction
from applications.tasks.label_task import LabelTask
from applications.trained.checkpoint import Trained
from applications.trained.exported import find_format
from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.files import locked
from utils.logs import log
from utils.metrics.calibration import cross_fitted, fold_of
from utils.metrics.grouped_statistics import one_of_each


def calibrated(
    trained: Trained,
    task: LabelTask,
    prediction: Prediction,
    promise: Promise | None,
    *,
    refit: bool,
    groups: np.ndarray | None = None,
) -> tuple[Trained, ThresholdChoice | None]:
    """Return the model with thresholds for `promise` (and, with `refit`, a new temperature), and the `ThresholdChoice` behind them.

    Without a promise, `refit` gives each of several labels the threshold of its best F1, and removes rejection thresholds.

    Args:
        trained: the model.
        task: its task, which is given the new temperature and thresholds.
        prediction: of the task, for the model's val images.
        promise: what the thresholds must guarantee; None for nothing.
        refit: whether to fit the temperature again.
        groups: number of the group of every image, (N,), such as the object it shows; None where images are independent.
    """
    if refit:
        prediction = task.calibrate_by(prediction)
    found, choice = replace(task.chosen, reject=None if refit else trained.calibration.reject), None
    if promise is not None:
        choice = choose(promise, prediction.targets.numpy(), prediction.probabilities.numpy(), groups)
        found = replace(found, **{"thresholds" if found.multi_label else "reject": choice.thresholds})
    task.chosen = found
    return replace(trained, calibration=found), choice


def choose(promise: Promise, targets: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None) -> ThresholdChoice:
    """Return the choice made on all images, or on one of each group, since the bound assumes independent images."""
    if groups is not None:
        rows = one_of_each(groups)
        choice = choose(promise, targets[rows], probabilities[rows], None)
        return replace(choice, images=len(targets), image_groups=len(rows))
    return (
        choose_rejection(promise, targets, probabilities)
        if targets.ndim == 1
        else choose_thresholds(promise, targets >= 0.5, probabilities)
    )


def cross_checked(
    task: LabelTask, prediction: Prediction, promise: Promise, *, refit: bool, groups: np.ndarray | None = None
) -> dict[str, float] | None:
    """Return cross-fitted shares for a promise, name -> share: each image is judged by thresholds chosen on the other four folds.

    With `refit`, the temperature is fitted on the other four folds, too. None where four fifths are too few to accept anything.

    Args:
        task: gives criterion and temperature.
        prediction: of the task, for the model's val images.
        promise: what the thresholds must guarantee.
        refit: whether the temperature was fitted on these images, too.
        groups: number of the group of every image, from 0, (N,), which is in one fold; None where images are independent.
    """
    targets = prediction.targets.numpy()
    fold, temperatures = fold_of(len(targets), groups), np.full(len(targets), task.chosen.temperature)
    if refit:
        temperatures = cross_fitted(prediction.logits.numpy(), targets, task.criterion.activation, groups)
    # The class, or the labels, of each answer, and which answers are accepted.
    found, accepted, met = np.empty(targets.shape, targets.dtype), np.empty(len(targets), dtype=bool), False
    for own in (fold == number for number in np.unique(fold)):
        temperature = float(torch.tensor(temperatures[own][0]).float())
        scaled = prediction.at_temperature(temperature).probabilities.numpy()
        choice = choose(promise, targets[~own], scaled[~own], None if groups is None else groups[~own])
        met = met or not choice.is_empty
        if targets.ndim == 1:
            found[own], accepted[own], _ = judge(choice.thresholds, targets[own], scaled[own])
        else:
            found[own] = scaled[own] >= np.asarray(choice.thresholds)
        # Freed before the next fold needs as much memory.
        del scaled
    if not met:
        return None
    if targets.ndim == 1:
        return kept_together(promise, Answers(found, accepted, accepted & (found != targets)))
    return named_together(promise, targets >= 0.5, found >= 0.5)


def store_calibration(trained: Trained) -> None:
    """Write temperature and thresholds into the checkpoint that the model was read from; the weights stay as they are.

    Raises:
        UserError: the run is still training, or the disk is full; the file is as it was.
    """
    chosen = trained.calibration
    store_chosen(trained, chosen.to_plain(), f"temperature {chosen.temperature:.4f}{' and thresholds' if chosen.has_thresholds else ''}")


def store_chosen(trained: Trained, values: Mapping[str, Any], said: str) -> None:
    """Write what was chosen on validation images into the checkpoint that the model was read from; `said` is it in words.

    Raises:
        UserError: the run is still training, or the disk is full; the file is as it was.
    """
    log_file = trained.path.parent / "log.txt"
    with locked(log_file) if log_file.is_file() else nullcontext():
        content = load_checkpoint(trained.path)
        save_checkpoint(trained.path, {**content, **values})
    log().info(f"stored    {said} in {trained.path}")
    for exported in sorted(trained.path.parent.glob("model*")):
        if (found := find_format(exported)) is not None:
            log().warning(f"{exported} still answers with what was stored before; write it again with --export {found.name}")
