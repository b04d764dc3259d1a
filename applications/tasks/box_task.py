"""What a task of boxes answers, whatever network finds them: figures, the least score, tables, files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from applications.contract import Signature, TensorSpec
from applications.tasks.box_answers import BoxAnswer, Choice, answer_of
from applications.tasks.box_meter import MEASURED, BoxMeter, BoxOutputs
from dataloader.targets.plane_change import PlaneChange
from models.detectors.tempered import tempered
from utils.drawing.plots import draw_bars
from utils.files import write_csv
from utils.metrics.box_curves import box_curves, class_figures
from utils.metrics.box_reliability import box_reliability, fit_score_temperature

# Least score of an answer before one was chosen on validation images.
USUAL_CONFIDENCE = 0.25
# Beyond these, scores near 0 and 1 would round to the same number, and AP could not tell them apart.
TEMPERATURES = (1 / 3, 3.0)


class BoxTask:
    """The part of a task of boxes that begins where the network ends.

    Attributes:
        classes: names.
        confidence: least score of an answered box, that of the best mean F1 on the validation images.
        promise: what the least score guarantees, in words; None where it was chosen by F1.
        choice: which boxes are answered, but for the confidence.
        temperature: divides the log odds of scores; 1 leaves them as the network says them.
    """

    classes: tuple[str, ...]
    confidence: float = USUAL_CONFIDENCE
    promise: str | None = None
    choice: Choice = Choice(MEASURED)
    temperature: float = 1.0

    @property
    def measured(self) -> Choice:
        """Which boxes are measured: nearly all, whatever the confidence, as average precision wants; the same at any temperature."""
        return replace(self.choice, confidence=float(tempered(torch.tensor(MEASURED), self.temperature)), thresholds=None)

    @property
    def answered(self) -> Choice:
        """Which boxes are answered: those that reach the confidence."""
        return replace(self.choice, confidence=self.confidence)

    def meter(self, images: int) -> BoxMeter:
        """Return a new meter, which keeps the boxes of every image."""
        del images
        return BoxMeter(self.classes, self.measured)

    def calibrate(self, meter: BoxMeter) -> None:
        """Choose the confidence of the best mean F1 of the classes, at an overlap of 0.5."""
        curves = box_curves(meter.matches, len(self.classes))
        if curves.real.any():
            self.confidence, self.promise = curves.best(), None

    def fit_temperature(self, meter: BoxMeter) -> None:
        """Choose the temperature at which scores are nearest to the share of boxes that find an object, and bring those of the meter to it.

        Nothing is done where the meter has no answers.
        """
        least, most = TEMPERATURES
        fitted = min(max(self.temperature * fit_score_temperature(box_reliability(meter.matches)), least), most)
        meter.temper(fitted / self.temperature)
        self.temperature = fitted

    def calibration(self) -> dict[str, Any]:
        """Return the confidence, what it guarantees, and the temperature of the scores."""
        return {"confidence": self.confidence, "confidence_promise": self.promise, "temperature": self.temperature}

    def load_calibration(self, values: Mapping[str, Any]) -> None:
        """Take what `calibration` returned."""
        self.temperature = float(values.get("temperature", 1.0))
        self.confidence = float(values.get("confidence", USUAL_CONFIDENCE))
        self.promise = values.get("confidence_promise")

    def postprocess(self, outputs: BoxOutputs, changes: Sequence[PlaneChange] = ()) -> list[BoxAnswer]:
        """Return the boxes of every image that reach the confidence: on the original images, to which `changes` lead back."""
        backs: Sequence[PlaneChange | None] = changes or [None] * len(outputs.said)
        return [answer_of(said, self.answered, back) for said, back in zip(outputs.said, backs, strict=True)]

    def table(self, meter: BoxMeter) -> list[list[str]]:
        """Return AP, precision and recall of every class, below a header; a class without objects has no AP."""
        coco, rows = meter.coco, []
        at = class_figures(meter.matches, len(self.classes), self.confidence)
        columns = zip(self.classes, coco.ap(), coco.ap(0), at.precision, at.recall, at.f1, at.real, at.said, strict=True)
        for name, ap, ap50, precision, recall, f1, real, said in columns:
            figures = (f"{value:.4f}" if real else "" for value in (ap, ap50, recall, f1))
            ap, ap50, recall, f1 = figures
            rows.append([name, ap, ap50, f"{precision:.4f}" if said else "", recall, f1, str(real), str(said)])
        return [["class", "AP", "AP50", "precision", "recall", "F1", "objects", "answered"], *rows]

    def render(self, meter: BoxMeter, paths: Sequence[str], folder: Path) -> list[Path]:
        """Write classes.csv, boxes.csv with every answer that reaches the confidence, and ap.png; return them."""
        files = [folder / name for name in ("classes.csv", "boxes.csv", "ap.png")]
        write_csv(files[0], self.table(meter))
        header = ["image", "class", "score", "left", "top", "right", "bottom"]
        write_csv(files[1], [header, *self._answers(meter, paths)])
        values = meter.coco.ap()
        title = f"AP {meter.figures()['AP']:.1%} over {int((values >= 0).sum())} classes"
        draw_bars(np.where(values >= 0, values, np.nan).tolist(), self.classes, files[2], axis="AP", title=title)
        return files

    def _answers(self, meter: BoxMeter, paths: Sequence[str]) -> list[list[str]]:
        lines = []
        for position in meter.positions:
            answer = meter.rows[position].answer
            answer = answer.rows(answer.scores >= self.confidence)
            for corners, score, number in zip(answer.corners.tolist(), answer.scores.tolist(), answer.classes.tolist(), strict=True):
                lines.append([paths[position], self.classes[number], f"{score:.4f}", *(f"{value:.1f}" for value in corners)])
        return lines

    def signature(self) -> Signature:
        """Return images of any size in; boxes of every place, in pixels of the size of the network, and their scores out."""
        images = TensorSpec("images", "uint8", ("N", 3, "H", "W"))
        boxes = TensorSpec("boxes", "float32", ("N", "A", 4))
        return Signature((images,), (boxes, TensorSpec("scores", "float32", ("N", "A", len(self.classes)))))
