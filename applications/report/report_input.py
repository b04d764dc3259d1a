"""The input of a report, and the output of its parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from applications.assemble import Machine
from applications.assemble.seen_images import Overlap
from applications.calibration.promises import CONFIDENCE, Promise, ThresholdChoice
from applications.calibration.threshold_outcome import broken_by
from applications.contract import Task
from applications.tasks.labels import LabelTask, Prediction, row_chunks
from applications.trained.checkpoint import Trained
from dataloader.batch.targets import to_dense
from dataloader.splits.split import Split
from utils.drawing.images import data_uri, thumbnail
from utils.metrics.calibration import cross_fitted
from utils.metrics.grouped_statistics import number_groups, one_of_each
from utils.page import Card, Tone
from utils.text import counted

# Images, uint8 (H, W, 3), and the class to explain of each -> pictures with a heat map laid on, uint8 (h, w, 3).
Overlay = Callable[[Sequence[np.ndarray], Sequence[int]], Sequence[np.ndarray]]

# How often each image is counted, int (N,) -> metrics, name -> value.
CountedMetrics = Callable[[np.ndarray], dict[str, float]]

# CSV of image and group, next to the predictions, where groups are known.
GROUPS = "groups.csv"
SIDE = 112
# About 3 kB each; a page of more opens slowly.
MOST_PICTURES = 500


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A model that was measured on the images of a split.

    Attributes:
        trained: the model.
        split: the images.
        task: of the model.
        machine: where it was measured.
        folder: where files go; a folder 'figures' in it takes tables and pictures.
        seconds: time of reading and predicting.
        views: the views of --tta; '' for none.
        unreadable: number of images that could not be read; they are in none of the figures.
        seen: how many of these images were trained on; None where the checkpoint does not say.
    """

    trained: Trained
    split: Split
    task: Task
    machine: Machine
    folder: Path
    seconds: float
    views: str = ""
    unreadable: int = 0
    seen: Overlap | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        return self.trained.classes

    @property
    def attachments(self) -> Path:
        """Return the folder of tables and pictures."""
        return self.folder / "figures"

    @property
    def seed(self) -> int:
        return self.trained.config.runtime.seed

    @cached_property
    def groups(self) -> np.ndarray | None:
        """Number of the group of every image, from 0, (N,), such as the object it shows; None where images are independent."""
        return number_groups(self.split.groups)

    def over_groups(self) -> str:
        """Return ' over 40 groups', or '' where images are independent."""
        return "" if self.groups is None else f" over {counted(int(self.groups.max()) + 1, 'group')}"

    @property
    def how_intervals(self) -> str:
        """How intervals are computed."""
        return "Wilson's for shares of images, jackknife for macro F1, bootstrap for the others"

    def choices(self) -> dict[str, str]:
        """Return what was chosen on validation images, name -> value, as the page shows it."""
        return {}

    def facts(self) -> dict[str, Any]:
        """Return what report.json says of this kind of task, besides the figures of its parts."""
        return {}


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


Section = tuple[str, list[str]]


@dataclass
class ReportPart:
    """What a part of the report gives back.

    Attributes:
        tiles: large figures, name -> value.
        sections: titles and blocks of the page.
        figures: plain values for report.json.
        style: what the sections need beyond the shared style.
    """

    tiles: dict[str, str] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    style: str = ""


class Thumbnails:
    """Thumbnails for one page, up to a limit.

    Args:
        read: position of an image -> its pixels, uint8 (H, W, 3).
        most: how many the page may hold.
    """

    def __init__(self, read: Callable[[int], np.ndarray], *, most: int = MOST_PICTURES) -> None:
        self.read = read
        self.left = most

    def card(self, index: int, lines: Sequence[str], tone: Tone = "", *, beside: np.ndarray | None = None) -> Card | None:
        """Return image `index` with lines of text, and a picture next to it; None when the page is full."""
        if self.left <= 0:
            return None
        self.left -= 1
        picture = thumbnail(self.read(index), SIDE)
        if beside is not None:
            picture = _side_by_side(picture, thumbnail(beside, SIDE))
        return Card(data_uri(picture), lines, tone)


def _side_by_side(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    height = max(len(first), len(second))
    parts = [np.pad(part, ((0, height - len(part)), (0, 4), (0, 0)), constant_values=255) for part in (first, second)]
    return np.concatenate(parts, axis=1)[:, :-4]


class Top(NamedTuple):
    """The most probable class of each image, int (N,), and its probability, (N,)."""

    found: np.ndarray
    confidence: np.ndarray


def top_of(probabilities: Tensor) -> Top:
    """Return the most probable classes, for (N, C)."""
    return Top(probabilities.argmax(1).numpy(), probabilities.amax(1).numpy())


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


def as_percent(value: float, digits: int = 1) -> str:
    """Return '97.2%', or a dash for nan."""
    return "-" if np.isnan(value) else f"{100 * value:.{digits}f}%"


def plain_floats(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with nan and infinity, which JSON cannot hold, as None."""
    return {
        name: plain_floats(value) if isinstance(value, Mapping) else None if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in values.items()
    }
