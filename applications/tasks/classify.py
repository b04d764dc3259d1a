"""Classification: one label per image."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from applications.contract import StepResult
from applications.tasks.label_meter import LabelMeter
from applications.tasks.label_prediction import Prediction, prediction_rows
from applications.tasks.label_task import LabelTask
from criterions.weighted import Criterion
from dataloader.batch.targets import labels_of, to_dense
from dataloader.images.preprocess import Preprocess
from dataloader.sample import Batch, Targets
from dataloader.targets.label import Label
from utils.drawing.plots import draw_confusion
from utils.files import write_csv
from utils.metrics.calibration import fit_temperature
from utils.metrics.statistics import confusion

# With six classes, five guesses are nearly always right.
FEWEST_FOR_TOP5 = 10


class Classify(LabelTask):
    """The classification task."""

    name = "classify"
    headline = "top1"
    metric_names: tuple[str, ...] = ("loss", "top1", "top5")
    target = Label
    fewest_classes = 2
    promises = ("error", "miss", "coverage")

    def __init__(self, classes: Sequence[str], criterion: Criterion, preprocess: Preprocess, device: torch.device) -> None:
        super().__init__(classes, criterion, preprocess, device)
        self.metric_names = tuple(name for name in self.metric_names if name != "top5" or len(self.classes) >= FEWEST_FOR_TOP5)

    def training_step(self, model: nn.Module, batch: Batch, *, record: bool = True) -> StepResult:
        """Return the mean weighted loss; a mixed sample counts as right when its larger share is hit."""
        targets = to_dense(batch.targets, len(self.classes))
        logits = model(self.normalize(batch.images))
        loss = self.criterion(logits, targets, batch.weights, copies=batch.copies, record=record)
        correct = ((logits.detach().argmax(1) == targets.argmax(1)) & (batch.weights > 0)).sum()
        return StepResult(loss, {"loss": loss.detach() * len(batch), "top1": correct})

    def kept_targets(self, targets: Targets) -> Tensor:
        """Return class indices as they are."""
        return labels_of(targets)

    def calibrate_by(self, prediction: Prediction) -> Prediction:
        """Choose the temperature; the most probable class stays the answer."""
        temperature = fit_temperature(prediction.logits.numpy(), prediction.targets.numpy(), self.criterion.activation)
        self.chosen = replace(self.chosen, temperature=temperature)
        return prediction.at_temperature(temperature)

    def metrics(self, prediction: Prediction) -> dict[str, float]:
        """Return plain loss, top-1, and top-5 from ten classes on, as shares of one."""
        hits = prediction.found == prediction.targets
        figures = {"loss": float(prediction.losses.mean()), "top1": float(hits.float().mean())}
        if len(self.classes) >= FEWEST_FOR_TOP5:
            top = prediction.probabilities.topk(5, 1).indices
            figures["top5"] = float((top == prediction.targets[:, None]).any(1).float().mean())
        return figures

    def render(self, meter: LabelMeter, paths: Sequence[str], folder: Path) -> list[Path]:
        """Write predictions.csv, classes.csv, confusion.csv and confusion.png; return them."""
        prediction = meter.prediction
        matrix = confusion(prediction.targets.numpy(), prediction.found.numpy(), len(self.classes))
        files = [folder / name for name in ("predictions.csv", "classes.csv", "confusion.csv", "confusion.png")]
        said = (
            (self.classes[true], self.classes[best])
            for true, best in zip(prediction.targets.tolist(), prediction.found.tolist(), strict=True)
        )
        write_csv(files[0], prediction_rows(prediction, paths, self.classes, said))
        write_csv(files[1], self.table(meter))
        rows = ([name, *row] for name, row in zip(self.classes, matrix.tolist(), strict=True))
        write_csv(files[2], chain([["true \\ predicted", *self.classes]], rows))
        draw_confusion(matrix, self.classes, files[3])
        return files

    def table(self, meter: LabelMeter) -> list[list[str]]:
        """Return precision, recall, F1 and number of images of every class, below a header."""
        from sklearn.metrics import precision_recall_fscore_support

        prediction = meter.prediction
        scores = precision_recall_fscore_support(
            prediction.targets,
            prediction.found,
            labels=range(len(self.classes)),
            zero_division=0.0,  # pyright: ignore[reportArgumentType]
        )
        columns = zip(self.classes, *(np.asarray(score) for score in scores), strict=True)
        rows = [[name, f"{p:.4f}", f"{r:.4f}", f"{f:.4f}", str(int(n))] for name, p, r, f, n in columns]
        return [["class", "precision", "recall", "f1", "images"], *rows]
