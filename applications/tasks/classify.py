"""Classification: one label an image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from applications.contract import Prediction, StepResult, at_temperature
from criterions.weighted import Criterion
from dataloader.batch.targets import labels_of, to_dense
from dataloader.images.preprocess import Normalize, Preprocess
from dataloader.sample import Batch
from utils.calibration import fit_temperature
from utils.files import write_csv
from utils.plots import draw_confusion

# Of six classes, five guesses are nearly always right.
FEWEST_FOR_TOP5 = 10


class Classify:
    """The classification task.

    Args:
        classes: names, in the order of the model's outputs.
        criterion: loss, and the probabilities that belong to it.
        preprocess: its normalization is applied on the device.
    """

    name = "classify"
    headline = "top1"
    figures: tuple[str, ...] = ("loss", "top1", "top5")
    thresholds = None
    # Divides the logits; chosen by `calibrate`.
    temperature = 1.0

    def __init__(self, classes: Sequence[str], criterion: Criterion, preprocess: Preprocess, device: torch.device) -> None:
        self.classes = tuple(classes)
        self.figures = tuple(name for name in self.figures if name != "top5" or len(self.classes) >= FEWEST_FOR_TOP5)
        self.criterion = criterion.to(device)
        self.normalize = Normalize(preprocess.mean, preprocess.std).to(device)

    def training_step(self, model: nn.Module, batch: Batch, *, record: bool = True) -> StepResult:
        """Return the mean weighted loss; a mixed sample counts as right when its larger share is hit."""
        targets = to_dense(batch.targets, len(self.classes))
        logits = model(self.normalize(batch.images))
        loss = self.criterion(logits, targets, batch.weights, copies=batch.copies, record=record)
        correct = ((logits.detach().argmax(1) == targets.argmax(1)) & (batch.weights > 0)).sum()
        return StepResult(loss, {"loss": loss.detach() * len(batch), "top1": correct})

    def predict(self, model: nn.Module, batch: Batch) -> Prediction:
        """Return probabilities and plain losses of a batch."""
        logits = model(self.normalize(batch.images)).float()
        losses = self.criterion.plain(logits, to_dense(batch.targets, len(self.classes)))
        # A model that diverged answers nan; it is measured as one that is sure of nothing.
        probabilities = self.criterion.probabilities(logits / self.temperature).nan_to_num(0.0)
        return Prediction(batch.indices.cpu(), labels_of(batch.targets).cpu(), probabilities.cpu(), losses.cpu(), logits.cpu())

    def calibrate(self, prediction: Prediction) -> Prediction:
        """Choose the temperature; the most probable class stays the answer."""
        targets = to_dense(prediction.targets, len(self.classes)).numpy()
        self.temperature = fit_temperature(prediction.logits.numpy(), targets, self.criterion.activation)
        return at_temperature(prediction, self.temperature, self.criterion)

    def metrics(self, prediction: Prediction) -> dict[str, float]:
        """Return plain loss, top-1, and top-5 from ten classes on, as shares of one."""
        hits = prediction.probabilities.argmax(1) == prediction.targets
        figures = {"loss": float(prediction.losses.mean()), "top1": float(hits.float().mean())}
        if len(self.classes) >= FEWEST_FOR_TOP5:
            top = prediction.probabilities.topk(5, 1).indices
            figures["top5"] = float((top == prediction.targets[:, None]).any(1).float().mean())
        return figures

    def render(self, prediction: Prediction, paths: Sequence[str], folder: Path) -> list[Path]:
        """Write predictions.csv, classes.csv, confusion.csv and confusion.png; return them."""
        matrix = self.confusion(prediction)
        files = [folder / name for name in ("predictions.csv", "classes.csv", "confusion.csv", "confusion.png")]
        write_csv(files[0], self._predictions(prediction, paths))
        write_csv(files[1], self.table(prediction))
        rows = ([name, *row] for name, row in zip(self.classes, matrix, strict=True))
        write_csv(files[2], [["true \\ predicted", *self.classes], *rows])
        draw_confusion(matrix, self.classes, files[3])
        return files

    def confusion(self, prediction: Prediction) -> np.ndarray:
        """Return the (C, C) counts, a row a true class."""
        # Imported on use: it takes as long as everything else of a start but torch.
        from sklearn.metrics import confusion_matrix

        found = prediction.probabilities.argmax(1)
        return confusion_matrix(prediction.targets, found, labels=range(len(self.classes)))

    def table(self, prediction: Prediction) -> list[list[str]]:
        """Return precision, recall, F1 and number of images of every class, below a header."""
        from sklearn.metrics import precision_recall_fscore_support

        found = prediction.probabilities.argmax(1)
        scores = precision_recall_fscore_support(
            prediction.targets,
            found,
            labels=range(len(self.classes)),
            zero_division=0.0,  # pyright: ignore[reportArgumentType]
        )
        columns = zip(self.classes, *(np.asarray(score) for score in scores), strict=True)
        rows = [[name, f"{p:.4f}", f"{r:.4f}", f"{f:.4f}", str(int(n))] for name, p, r, f, n in columns]
        return [["class", "precision", "recall", "f1", "images"], *rows]

    def _predictions(self, prediction: Prediction, paths: Sequence[str]) -> list[list[str]]:
        found = prediction.probabilities.argmax(1).tolist()
        columns = (prediction.indices.tolist(), prediction.targets.tolist(), found, prediction.probabilities.tolist())
        rows = [
            [paths[index], self.classes[true], self.classes[best], *(f"{p:.9g}" for p in row)]
            for index, true, best, row in zip(*columns, strict=True)
        ]
        return [["path", "true", "predicted", *self.classes], *rows]
