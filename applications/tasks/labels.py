"""What the tasks with labels share, one or several per image. Their meter keeps one row per image."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from applications.contract import ABILITIES, Signature, StepResult, TensorSpec
from criterions.elementwise import ACTIVATIONS, ActivationName
from criterions.options import USUAL
from criterions.weighted import Criterion, build_criterion
from dataloader.batch.targets import to_dense
from dataloader.images.preprocess import Normalize, Preprocess
from dataloader.sample import Batch, Targets
from dataloader.targets.plane_change import PlaneChange
from dataloader.targets.target import Target
from models import build_model
from models.options import ModelOptions
from utils.metrics.calibration import Calibration

# Cells of a table that are computed at a time.
CHUNK = 4_000_000
WRITTEN_AT_ONCE = 100_000


@dataclass(frozen=True, eq=False)
class Prediction:
    """The outputs of a model for N images, on the CPU, one row per image. What follows from the logits is computed on first use.

    Attributes:
        indices: (N,) positions in the split, rising.
        targets: int64 (N,) class indices, or bool (N, C), true for every label of the image.
        losses: (N,) plain loss of each image at temperature 1, without any weighting.
        logits: (N, C) float32, as the network gave them.
        activation: 'softmax' or 'sigmoid', as trained.
        temperature: divides the logits before they become probabilities.
    """

    indices: Tensor
    targets: Tensor
    losses: Tensor
    logits: Tensor
    activation: ActivationName
    temperature: float = 1.0

    def __len__(self) -> int:
        return len(self.indices)

    def at_temperature(self, temperature: float) -> "Prediction":
        """Return the prediction with the probabilities of logits / temperature; the tensors are shared."""
        return self if temperature == self.temperature else replace(self, temperature=temperature)

    @cached_property
    def probabilities(self) -> Tensor:
        """Probabilities (N, C) of logits / temperature: as large as the logits, and cached, so drop the prediction after use.

        nan becomes 0: a model that diverged counts as one with no confidence in any class.
        """
        found = torch.empty_like(self.logits)
        for rows in row_chunks(found):
            found[rows] = ACTIVATIONS[self.activation].probabilities(self.logits[rows] / self.temperature).nan_to_num(0.0)
        return found

    @cached_property
    def found(self) -> Tensor:
        """The most probable class of each image, int64 (N,)."""
        return self.probabilities.argmax(1)

    @cached_property
    def confidence(self) -> Tensor:
        """The probability of the most probable class, (N,)."""
        return self.probabilities.amax(1)


def row_chunks(values: Tensor | np.ndarray) -> Iterator[slice]:
    """Yield slices of rows that together are all of a table (N, C), each of about CHUNK cells; one that is empty for an empty table."""
    step = max(1, CHUNK // max(1, values.shape[1]))
    yield from (slice(start, start + step) for start in range(0, max(1, len(values)), step))


class LabelAnswer(NamedTuple):
    """The answer for one image: probabilities (C,), and whether each class is named, bool (C,)."""

    probabilities: np.ndarray
    named: np.ndarray

    def ranked(self) -> list[int]:
        """Return all classes, the most probable first."""
        return np.argsort(-self.probabilities, kind="stable").tolist()

    def labels(self, reject: Sequence[float] | None) -> list[int]:
        """Return the classes that it names with at least their probability in `reject`, (C,), the most probable first."""
        return [label for label in self.ranked() if self.named[label] and (reject is None or self.probabilities[label] >= reject[label])]


def decide(probabilities: Tensor, thresholds: Sequence[float] | None) -> Tensor:
    """Return what the answers name, bool (N, C): every class that reaches its threshold, or the most probable one.

    Args:
        probabilities: (N, C).
        thresholds: one per class; None where exactly one class is right.
    """
    if thresholds is None:
        return torch.nn.functional.one_hot(probabilities.argmax(1), probabilities.shape[1]).bool()
    return probabilities >= torch.tensor(thresholds, dtype=torch.float64, device=probabilities.device)


def prediction_rows(
    prediction: Prediction, paths: Sequence[str], classes: Sequence[str], said: Iterable[tuple[str, str]]
) -> Iterator[list[str]]:
    """Yield the rows of predictions.csv, a few in memory at a time: a header, then path, truth, answer and probabilities of an image.

    Args:
        prediction: of N images.
        paths: of the split that its indices are positions in.
        classes: names.
        said: truth and answer of every image, as text.
    """
    yield ["path", "true", "predicted", *classes]
    words, step = iter(said), max(1, WRITTEN_AT_ONCE // max(1, len(classes)))
    for start in range(0, len(prediction), step):
        rows = slice(start, start + step)
        for index, values in zip(prediction.indices[rows].tolist(), prediction.probabilities[rows].tolist(), strict=True):
            yield [paths[int(index)], *next(words), *(f"{value:.9g}" for value in values)]


class LabelTask(ABC):
    """A task whose network answers logits (N, C) of C labels.

    Args:
        classes: names, in the order of the model's outputs.
        criterion: loss, and the probabilities that belong to it.
        preprocess: its normalization is applied on the device.

    Attributes:
        chosen: temperature and thresholds, saved in checkpoints and exported files.
    """

    name: str
    headline: str
    metric_names: tuple[str, ...]
    target: ClassVar[type[Target]]
    fewest_classes: ClassVar[int] = 1
    abilities: ClassVar[frozenset[str]] = frozenset(ABILITIES) - {
        "networks of encoder and decoder",
        "necks",
        "anchors",
        "crops",
        "tiles",
        "answered boxes",
        "tables of OK and NG",
    }
    # The rows of PROMISES that --target can ask for.
    promises: ClassVar[tuple[str, ...]]
    head_rate: ClassVar[float] = 1.0
    usual_criterion: ClassVar[str] = USUAL
    build_criterion: ClassVar = staticmethod(build_criterion)

    def __init__(self, classes: Sequence[str], criterion: Criterion, preprocess: Preprocess, device: torch.device) -> None:
        self.classes = tuple(classes)
        self.criterion = criterion.to(device)
        self.normalize: nn.Module = Normalize(preprocess.mean, preprocess.std).to(device)
        self.chosen = Calibration()

    @staticmethod
    def build_model(model: ModelOptions, classes: Sequence[str]) -> nn.Module:
        """Return the network that --arch names, with one output per class."""
        return build_model(model.arch, num_classes=len(classes), drop_rate=model.drop_rate, drop_path=model.drop_path)

    @abstractmethod
    def training_step(self, model: nn.Module, batch: Batch, *, record: bool = True) -> StepResult:
        """Return the mean weighted loss."""

    @abstractmethod
    def metrics(self, prediction: Prediction) -> dict[str, float]:
        """Return the metrics of a whole split, name -> value."""

    @abstractmethod
    def table(self, meter: "LabelMeter") -> list[list[str]]:
        """Return the table that a person reads first: a header, then one row per class."""

    @abstractmethod
    def render(self, meter: "LabelMeter", paths: Sequence[str], folder: Path) -> list[Path]:
        """Write predictions.csv, classes.csv and the plots of the task; return the files."""

    @abstractmethod
    def kept_targets(self, targets: Targets) -> Tensor:
        """Return the targets of a batch as a `Prediction` holds them."""

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the logits, float32 (N, C)."""
        return model(self.normalize(batch.images)).float()

    def meter(self, images: int) -> "LabelMeter":
        """Return a meter that keeps a row for each of at most so many images."""
        return LabelMeter(self, images)

    def calibrate(self, meter: "LabelMeter") -> None:
        """Choose the temperature, and the thresholds where there are some, by the rows of validation images."""
        self.calibrate_by(meter.prediction)

    @abstractmethod
    def calibrate_by(self, prediction: Prediction) -> Prediction:
        """Choose as `calibrate` does, and return the prediction at the new temperature."""

    def calibration(self) -> dict[str, Any]:
        """Return temperature and thresholds, as checkpoints hold them."""
        return self.chosen.to_plain()

    def load_calibration(self, values: Mapping[str, Any]) -> None:
        """Take temperature and thresholds; older files lack them."""
        self.chosen = Calibration.from_plain(values)

    def postprocess(self, outputs: Tensor, changes: Sequence[PlaneChange] = ()) -> list[LabelAnswer]:
        """Return probabilities and named classes of every image; labels have no place on it."""
        del changes
        # As in `Prediction.probabilities`: a model that diverged names nothing.
        probabilities = self.criterion.probabilities(outputs / self.chosen.temperature).nan_to_num(0.0).cpu()
        named = decide(probabilities, self.chosen.thresholds)
        return [LabelAnswer(*pair) for pair in zip(probabilities.numpy(), named.numpy(), strict=True)]

    def signature(self) -> Signature:
        """Return images of any size in, probabilities out."""
        images = TensorSpec("images", "uint8", ("N", 3, "H", "W"))
        return Signature((images,), (TensorSpec("probabilities", "float32", ("N", len(self.classes))),))


class LabelMeter:
    """Keeps one row per image: logits once, and losses, targets and positions. Rows of all processes meet on the first.

    Args:
        task: gives losses, metrics and the temperature.
        images: rows to make room for, over all processes; memory is taken as they come.
    """

    def __init__(self, task: LabelTask, images: int) -> None:
        self.task = task
        self.count = 0
        self._room = images
        # Positions, targets, losses, logits.
        self._stores: list[np.ndarray] = []
        self._prediction: Prediction | None = None

    @classmethod
    def holding(cls, task: LabelTask, prediction: Prediction) -> "LabelMeter":
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
