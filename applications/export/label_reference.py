"""Labels of files beside those of their model."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from applications.assemble import Machine
from applications.export.answers import Answers
from applications.export.parity import ALLOWED_INT8, ROUNDING, Allowed, ClassFigure, Figures, Parity, Words, in_order
from applications.export.reference import Reference
from applications.formats.deployed import Deployed, deploy
from applications.formats.facts import Facts
from applications.formats.format import Holds
from applications.settings.options import ExportOptions
from applications.tasks.label_answers import decide
from applications.tasks.label_prediction import Prediction
from applications.tasks.label_task import LabelTask
from applications.trained.checkpoint import Trained
from applications.trained.inference import answer_images

# In 16 bits a probability moves by up to 1%, and a label turns where two are as close as that.
ALLOWED = {"fp32": Allowed(1e-4, 1.0), "half": Allowed(2e-2, 0.99), "int8": ALLOWED_INT8}


class LabelReference(Reference[LabelTask]):
    """Answers are probabilities (C,)."""

    allowed: ClassVar[Mapping[str, Allowed]] = ALLOWED
    words: ClassVar[Words] = Words("labels", "probability", "images", "found")
    demo: ClassVar[str] = "classifier"

    @staticmethod
    def deploy(trained: Trained, task: LabelTask, options: ExportOptions, *, any_size: bool) -> Deployed:
        return deploy(
            trained.model,
            trained.preprocess,
            task.criterion.activation,
            arch=trained.config.model.arch,
            temperature=trained.calibration.temperature,
            any_size=any_size,
            half=options.half,
            features=options.with_features,
            cam=options.with_cam,
        )

    @staticmethod
    def facts(trained: Trained, task: LabelTask, options: ExportOptions, holds: Holds) -> dict[str, Any]:
        del holds
        extras = (("features", options.with_features), ("cam", options.with_cam))
        outputs = (*(each.name for each in task.signature().outputs), *(name for name, asked in extras if asked))
        return {"activation": task.criterion.activation, "outputs": outputs, **asdict(trained.calibration)}

    @staticmethod
    def said(trained: Trained, task: LabelTask, pixels: Tensor, machine: Machine) -> np.ndarray:
        return np.stack([answer.probabilities for answer in answer_images(trained, task, pixels, machine)])

    def figures(self, answers: Iterable[tuple[int, np.ndarray]], facts: Facts) -> Figures:
        positions, rows = zip(*answers, strict=True)
        probabilities = torch.from_numpy(in_order(np.stack(rows), facts.classes, self.task.classes))
        if not probabilities.shape[1]:
            # Classes that the model does not know: nothing is right.
            probabilities = torch.zeros(len(rows), len(self.task.classes))
        # The thresholds of what answered.
        task = copy.copy(self.task)
        task.chosen = facts.calibration
        told = prediction_of(task, self.split.targets[list(positions)], probabilities.nan_to_num(0.0))
        return Figures(task.headline, float(task.metrics(told)[task.headline]), found_of_classes(told, task))

    def compare(self, expected: np.ndarray, answers: Answers, facts: Facts, allowed: Allowed) -> Parity:
        told = answers.facts
        single, batched = (in_order(part, told.classes, facts.classes) for part in (answers.single, answers.batched))
        if single.shape != expected.shape:
            single = batched = np.full_like(expected, np.nan)
        mine, theirs = self.figures(enumerate(expected), facts), self.worse_figures(answers.single, answers.batched, told, allowed)
        # A label agrees where it does both alone and among other images.
        alone, together = (
            agree(torch.from_numpy(part), torch.from_numpy(expected), told.thresholds, facts.thresholds) for part in (single, batched)
        )
        agreeing = int((alone & together).sum())
        return self.parity(np.abs(single - expected), np.abs(batched - expected), (agreeing, len(expected)), (mine, theirs))


def prediction_of(task: LabelTask, targets: np.ndarray, probabilities: Tensor) -> Prediction:
    """Return a prediction with these probabilities (N, C): with the logits, in float64, that have them."""
    exact, count = probabilities.double(), len(probabilities)
    logits = exact.log() if task.criterion.activation == "softmax" else exact.logit()
    kept = task.kept_targets(torch.from_numpy(targets))
    return Prediction(torch.arange(count), kept, torch.zeros(count), logits, task.criterion.activation)


def found_of_classes(told: Prediction, task: LabelTask) -> tuple[ClassFigure, ...]:
    """Return how many images of each class are named so."""
    targets = told.targets
    true = targets if targets.ndim > 1 else torch.nn.functional.one_hot(targets, len(task.classes)).bool()
    counts, found = true.sum(0), (true & decide(told.probabilities, task.chosen.thresholds)).sum(0)
    rows = zip(task.classes, counts.tolist(), found.tolist(), strict=True)
    return tuple(ClassFigure(name, count, named / count) for name, count, named in rows if count)


def agree(answers: Tensor, expected: Tensor, thresholds: Sequence[float] | None, wanted_thresholds: Sequence[float] | None) -> Tensor:
    """Return which rows of two (N, C) probabilities name the same labels, each by thresholds of its own: bool (N,).

    Where every label has a threshold, one whose probability lies on it up to rounding agrees either way.
    """
    same = decide(answers, thresholds) == decide(expected, wanted_thresholds)
    if thresholds is not None and thresholds == wanted_thresholds:
        same |= (answers - expected).abs() <= ROUNDING
    return same.all(1)
