"""What is kept of labels while images come: a row of logits for each image, from which all figures follow."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from applications.tasks.label_prediction import Prediction
from criterions.weighted import Criterion
from dataloader.batch.targets import to_dense
from dataloader.sample import Batch, Targets
from utils.metrics.calibration import Calibration


class MeasuredByRows(Protocol):
    """What the meter asks of its task, a `LabelTask`."""

    classes: tuple[str, ...]
    criterion: Criterion
    chosen: Calibration

    def kept_targets(self, targets: Targets) -> Tensor:
        """Return the targets of a batch as a `Prediction` holds them."""
        ...

    def metrics(self, prediction: Prediction) -> dict[str, float]:
        """Return the metrics of a whole split, name -> value."""
        ...


class LabelMeter:
    """Keeps one row per image: logits once, and losses, targets and positions. Rows of all processes meet on the first.

    Args:
        task: gives losses, metrics and the temperature.
        images: rows to make room for, over all processes; memory is taken as they come.
    """

    def __init__(self, task: MeasuredByRows, images: int) -> None:
        self.task = task
        self.count = 0
        self._room = images
        # Positions, targets, losses, logits.
        self._stores: list[np.ndarray] = []
        self._prediction: Prediction | None = None

    @classmethod
    def holding(cls, task: MeasuredByRows, prediction: Prediction) -> "LabelMeter":
        """Return a meter that has the rows of a prediction; they are shared."""
        meter = cls(task, len(prediction))
        meter.count, meter._prediction = len(prediction), prediction
        rows = (prediction.indices, prediction.targets, prediction.losses, prediction.logits)
        meter._stores = [each.numpy() for each in rows]
        return meter

    def update(self, batch: Batch, outputs: Tensor) -> None:
        """Keep the rows of a batch, without padding."""
        losses = self.task.criterion.plain(outputs, to_dense(batch.targets, len(self.task.classes)))
        rows = [batch.indices, self.task.kept_targets(batch.targets), losses, outputs]
        real = batch.indices >= 0
        self._add([(each if real.all() else each[real]).cpu().numpy() for each in rows])

    def state(self) -> list[np.ndarray]:
        """Return the rows so far."""
        return [store[: self.count] for store in self._stores]

    def merge(self, state: Sequence[np.ndarray]) -> None:
        """Add the rows of another process."""
        if state:
            self._add(state)

    def _add(self, rows: Sequence[np.ndarray]) -> None:
        self._prediction = None
        end = self.count + len(rows[0])
        if end > self._room or not self._stores:
            self._room = max(self._room, end, 2 * self.count)
            grown = [np.empty((self._room, *each.shape[1:]), each.dtype) for each in rows]
            for new, old in zip(grown, self.state(), strict=False):
                new[: self.count] = old
            self._stores = grown
        for store, new in zip(self._stores, rows, strict=True):
            store[self.count : end] = new
        self.count = end

    @property
    def prediction(self) -> Prediction:
        """The rows, ordered by position, at the temperature of the task."""
        if self._prediction is None:
            assert self._stores, "nothing was measured"
            indices = self.state()[0]
            if (indices[1:] < indices[:-1]).any():
                order = indices.argsort(kind="stable")
                self._stores, self._room = [store[order] for store in self.state()], self.count
            parts = map(torch.from_numpy, self.state())
            self._prediction = Prediction(*parts, activation=self.task.criterion.activation, temperature=self.task.chosen.temperature)
        self._prediction = self._prediction.at_temperature(self.task.chosen.temperature)
        return self._prediction

    def figures(self) -> dict[str, float]:
        """Return the metrics of the task."""
        return self.task.metrics(self.prediction)

    def one_answer(self) -> str:
        """Return the clause where all images get the same class; with several labels per image, ''."""
        prediction = self.prediction
        found = prediction.logits.argmax(1)
        if prediction.targets.ndim > 1 or len(prediction.targets.unique()) < 2 or len(found.unique()) > 1:
            return ""
        return f"all {len(prediction)} images are answered '{self.task.classes[int(found[0])]}'"
