"""Multi-label classification: several labels per image, each a sigmoid problem of its own with its own threshold.

Thresholds that make F1 largest on validation images: Lipton, Elkan, Narayanaswamy: Thresholding Classifiers to Maximize
F1 Score (arXiv 1402.1892).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from applications.contract import StepResult
from applications.tasks.label_answers import decide
from applications.tasks.label_meter import LabelMeter
from applications.tasks.label_prediction import Prediction, prediction_rows
from applications.tasks.label_task import LabelTask
from criterions.weighted import Criterion
from dataloader.batch.targets import to_dense
from dataloader.images.preprocess import Preprocess
from dataloader.sample import Batch, Targets
from dataloader.sources.lists import join_labels
from dataloader.targets.label import Labels
from utils.drawing.plots import draw_bars
from utils.errors import UserError
from utils.files import write_csv
from utils.metrics.calibration import Calibration, fit_temperature

EVEN = 0.5


def best_threshold(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the threshold of the largest F1 of one label; 0.5 when no image has it.

    It lies halfway between two neighboring probabilities, so that rounding does not move an image across it. Among
    equally good thresholds, the one nearest to 0.5 is chosen.

    Args:
        targets: bool (N,).
        probabilities: (N,) in [0, 1].
    """
    total = int(targets.sum())
    if total == 0:
        return EVEN
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order].astype(np.float64)
    # Images with equal probabilities are on the same side of every threshold.
    ends = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True))
    below = np.append(ranked, 0.0)[ends + 1]
    f1 = 2 * np.cumsum(targets[order])[ends] / (ends + 1 + total)
    # Thresholds are rounded to float32, like the probabilities, so that every reader compares the same numbers.
    cuts = ((ranked[ends] + below) / 2).astype(np.float32).astype(np.float64)
    cuts = np.where(cuts <= below, ranked[ends], cuts)
    best = cuts[f1 > f1.max() - 1e-12]
    return float(best[np.abs(best - EVEN).argmin()])


def best_thresholds(targets: np.ndarray, probabilities: np.ndarray) -> tuple[float, ...]:
    """Return `best_threshold` of every label, for bool targets and probabilities (N, C)."""
    return tuple(map(best_threshold, targets.T, probabilities.T))


def average_precisions(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the average precision of every label, (C,): the area under its precision-recall steps; nan when no image has it.

    Args:
        targets: bool (N, C).
        probabilities: (N, C).
    """
    # Imported on use, since it is slow: about as long as all other imports but torch.
    from sklearn.metrics import average_precision_score

    columns = zip(targets.T, probabilities.T, strict=True)
    return np.array([average_precision_score(truth, scores) if truth.any() else np.nan for truth, scores in columns])


def count_decisions(targets: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return true positives, false positives, false negatives and true negatives of every label, int (4, C)."""
    return np.stack([targets & found, ~targets & found, targets & ~found, ~targets & ~found]).sum(1)


class Multilabel(LabelTask):
    """The multi-label task, for a sigmoid loss.

    Raises:
        UserError: the criterion is a softmax one, which makes labels compete.
    """

    name = "multilabel"
    headline = "mAP"
    metric_names = ("loss", "mAP", "micro_f1", "macro_f1", "exact")
    target = Labels
    promises = ("error", "miss")

    def __init__(self, classes: Sequence[str], criterion: Criterion, preprocess: Preprocess, device: torch.device) -> None:
        if criterion.activation != "sigmoid":
            raise UserError("these images have several labels each: add --criterion bce")
        super().__init__(classes, criterion, preprocess, device)
        self.chosen = Calibration(thresholds=(EVEN,) * len(self.classes))

    def training_step(self, model: nn.Module, batch: Batch, *, record: bool = True) -> StepResult:
        """Return the mean weighted loss, and the number of images whose labels are all right at 0.5; mixed targets are rounded."""
        targets = to_dense(batch.targets, len(self.classes))
        logits = model(self.normalize(batch.images))
        loss = self.criterion(logits, targets, batch.weights, copies=batch.copies, record=record)
        exact = ((logits.detach() >= 0) == (targets >= EVEN)).all(1).sum()
        return StepResult(loss, {"loss": loss.detach() * len(batch), "exact": exact})

    def kept_targets(self, targets: Targets) -> Tensor:
        """Return whether each image has each label, bool (N, C)."""
        return to_dense(targets, len(self.classes)) >= EVEN

    def calibrate_by(self, prediction: Prediction) -> Prediction:
        """Choose the temperature, and the threshold of every label that makes its F1 largest."""
        truth = _truth(prediction)
        temperature = fit_temperature(prediction.logits.numpy(), truth, self.criterion.activation)
        prediction = prediction.at_temperature(temperature)
        self.chosen = Calibration(temperature, best_thresholds(truth, prediction.probabilities.numpy()))
        return prediction

    def metrics(self, prediction: Prediction) -> dict[str, float]:
        """Return plain loss, mAP, micro and macro F1, and the share of images whose labels are all right.

        mAP and macro F1 are means over the labels that occur.
        """
        truth = _truth(prediction)
        hits, extra, missed, _ = counts = count_decisions(truth, self._found(prediction))
        occurs = truth.any(0)
        f1 = _scores(counts)[2]
        return {
            "loss": float(prediction.losses.mean()),
            "mAP": _mean(average_precisions(truth, prediction.probabilities.numpy())[occurs]),
            "micro_f1": float(2 * hits.sum() / max(1, (2 * hits + extra + missed).sum())),
            "macro_f1": _mean(f1[occurs]),
            "exact": float((truth == self._found(prediction)).all(1).mean()),
        }

    def table(self, meter: LabelMeter) -> list[list[str]]:
        """Return average precision, precision, recall, F1, threshold and number of images of every label, below a header."""
        assert self.chosen.thresholds is not None
        prediction = meter.prediction
        truth = _truth(prediction)
        precision, recall, f1 = _scores(count_decisions(truth, self._found(prediction)))
        averages = average_precisions(truth, prediction.probabilities.numpy())
        columns = zip(self.classes, averages, precision, recall, f1, self.chosen.thresholds, truth.sum(0), strict=True)
        rows = [
            [name, "" if np.isnan(ap) else f"{ap:.4f}", f"{p:.4f}", f"{r:.4f}", f"{f:.4f}", f"{t:.4f}", str(n)]
            for name, ap, p, r, f, t, n in columns
        ]
        return [["label", "AP", "precision", "recall", "f1", "threshold", "images"], *rows]

    def render(self, meter: LabelMeter, paths: Sequence[str], folder: Path) -> list[Path]:
        """Write predictions.csv, classes.csv, labels.csv and average_precision.png; return them."""
        prediction = meter.prediction
        truth, found = _truth(prediction), self._found(prediction)
        files = [folder / name for name in ("predictions.csv", "classes.csv", "labels.csv", "average_precision.png")]
        said = ((self._join(true), self._join(named)) for true, named in zip(truth, found, strict=True))
        write_csv(files[0], prediction_rows(prediction, paths, self.classes, said))
        write_csv(files[1], self.table(meter))
        counts = ([name, *row] for name, row in zip(self.classes, count_decisions(truth, found).T.tolist(), strict=True))
        write_csv(files[2], [["label", "named rightly", "named wrongly", "missed", "left out rightly"], *counts])
        averages = average_precisions(truth, prediction.probabilities.numpy())
        title = f"mAP {_mean(averages[truth.any(0)]):.2%} over {truth.any(0).sum()} labels, {len(truth)} images"
        draw_bars(averages.tolist(), self.classes, files[3], axis="average precision", title=title)
        return files

    def _found(self, prediction: Prediction) -> np.ndarray:
        return decide(prediction.probabilities, self.chosen.thresholds).numpy()

    def _join(self, named: np.ndarray) -> str:
        return join_labels([self.classes[index] for index in np.flatnonzero(named)])


def _truth(prediction: Prediction) -> np.ndarray:
    return prediction.targets.numpy() >= EVEN


def _scores(counts: np.ndarray) -> np.ndarray:
    """Return precision, recall and F1 of every label, (3, C), from the counts of `count_decisions`; 0 where undefined."""
    hits, extra, missed, _ = counts
    parts = np.stack([hits, hits, 2 * hits])
    wholes = np.stack([hits + extra, hits + missed, 2 * hits + extra + missed])
    return parts / np.maximum(wholes, 1)


def _mean(values: np.ndarray) -> float:
    """Return the mean; that of no values is 0."""
    return float(values.mean()) if len(values) else 0.0
