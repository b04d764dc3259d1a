"""What the tasks with labels share, one or several per image."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from applications.abilities import FOURTH_CHANNEL
from applications.contract import Signature, StepResult, TensorSpec
from applications.tasks.label_answers import LabelAnswer, decide
from applications.tasks.label_meter import LabelMeter
from applications.tasks.label_prediction import Prediction
from criterions.options import USUAL
from criterions.weighted import Criterion, build_criterion
from dataloader.images.preprocess import Normalize, Preprocess
from dataloader.sample import Batch, Targets
from dataloader.targets.plane_change import PlaneChange
from dataloader.targets.target import Target
from models import build_model
from models.options import ModelOptions
from utils.metrics.calibration import Calibration


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
    abilities: ClassVar[frozenset[str]] = frozenset(
        {
            "learning from teachers",
            "maps of teachers",
            "answers of teachers in files",
            "weights of single images",
            "counting the images of classes",
            "mixing images",
            "comparing copies of an image",
            "heat maps",
            "averaging views",
            "thresholds that keep a promise",
            "choosing on val images again",
            "comparing models",
            "answers for single images",
            "copies with labels or boxes on them",
            "rejecting answers",
            "vectors of images",
            "exported files",
            "measuring files side by side",
            "answers over the network",
            "pruning",
            FOURTH_CHANNEL,
        }
    )
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
    def table(self, meter: LabelMeter) -> list[list[str]]:
        """Return the table that a person reads first: a header, then one row per class."""

    @abstractmethod
    def render(self, meter: LabelMeter, paths: Sequence[str], folder: Path) -> list[Path]:
        """Write predictions.csv, classes.csv and the plots of the task; return the files."""

    @abstractmethod
    def kept_targets(self, targets: Targets) -> Tensor:
        """Return the targets of a batch as a `Prediction` holds them."""

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the logits, float32 (N, C)."""
        return model(self.normalize(batch.images)).float()

    def meter(self, images: int) -> LabelMeter:
        """Return a meter that keeps a row for each of at most so many images."""
        return LabelMeter(self, images)

    def calibrate(self, meter: LabelMeter) -> None:
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
