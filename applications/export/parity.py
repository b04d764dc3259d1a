"""Whether a written file gives the answers of the model: how much they may differ, and how much they do."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from applications.export.probe import Answers
from applications.formats.facts import Facts
from applications.tasks.label_answers import decide
from applications.tasks.label_prediction import Prediction
from applications.tasks.label_task import LabelTask

# Probabilities this close to a threshold lie on it.
ROUNDING = 1e-5


@dataclass(frozen=True)
class Allowed:
    """What a file of some precision may differ by.

    Attributes:
        difference: of any probability.
        agreeing: share of the images that must get the same labels.
        drop: of the accuracy, as a share; None where the two bounds above say enough.
    """

    difference: float
    agreeing: float
    drop: float | None = None


# In 16 bits a probability moves by up to 1%, and a label turns where two are as close as that.
ALLOWED = {"fp32": Allowed(1e-4, 1.0), "half": Allowed(2e-2, 0.99), "int8": Allowed(1.0, 0.0, 0.005)}


class ClassShares(NamedTuple):
    """Of how many images of a class the model and the file name it, as shares."""

    name: str
    images: int
    model: float
    file: float


@dataclass(frozen=True)
class Parity:
    """A file and its model on the same images.

    Attributes:
        images: how many.
        agreeing: on how many both name the same labels.
        largest, mean: difference of probabilities, images one by one.
        batched: largest difference of probabilities when several images go in together.
        headline: name of the figure below.
        model, file: that figure of both, as a share.
        worst: position of the image with the largest difference.
        classes: what both find of each class that has images.
        answers, answered: how many answers there are, and what they are: labels, one an image, or pixels.
    """

    images: int
    agreeing: int
    largest: float
    mean: float
    batched: float
    headline: str
    model: float
    file: float
    worst: int
    classes: tuple[ClassShares, ...] = ()
    answers: int | None = None
    answered: str = "labels"

    @property
    def total(self) -> int:
        """How many answers were compared."""
        return self.images if self.answers is None else self.answers

    @property
    def drop(self) -> float:
        """What the file loses of the figure, as a share; below 0 where it gains."""
        return self.model - self.file

    def refusal(self, allowed: Allowed) -> str:
        """Return why the file is not kept, or ''."""
        if not max(self.largest, self.batched) <= allowed.difference:
            return f"probabilities differ by up to {max(self.largest, self.batched):.1e}, allowed are {allowed.difference:.0e}"
        if self.agreeing < allowed.agreeing * self.total:
            return f"{self.total - self.agreeing:,} of {self.total:,} {self.answered} differ"
        if allowed.drop is not None and not self.drop <= allowed.drop + ROUNDING:
            return f"{self.headline} falls by {100 * self.drop:.2f} points, allowed are {100 * allowed.drop:.2f}"
        return ""


def compare(answers: Answers, expected: Prediction, truth: Facts, task: LabelTask) -> Parity:
    """Compare the answers of a file with those of its model, class by class and by the names that the file gives them.

    Args:
        answers: of the file, in the order of the split.
        expected: of the model.
        truth: what the file should say of itself.
        task: what the answers mean.
    """
    probabilities = expected.probabilities
    single, batched = (in_order(torch.from_numpy(part), answers.facts.classes, truth.classes) for part in (answers.single, answers.batched))
    if single.shape != probabilities.shape:
        # Classes that the model does not know: nothing agrees.
        single = batched = torch.full_like(probabilities, float("nan"))
    difference = (single - probabilities).abs()
    told = with_probabilities(expected, single.nan_to_num(0.0))
    figures = [task.metrics(each)[task.headline] for each in (expected, told)]
    return Parity(
        images=len(probabilities),
        agreeing=count_agreeing(single, probabilities, answers.facts.thresholds, truth.thresholds),
        largest=_largest(difference),
        mean=float(difference.mean()),
        batched=_largest((batched - probabilities).abs()),
        headline=task.headline,
        model=figures[0],
        file=figures[1],
        worst=int(np.argmax(np.nan_to_num(difference.amax(1).numpy(), nan=np.inf))),
        classes=class_shares(expected, told, answers.facts.thresholds, truth),
    )


def class_shares(model: Prediction, file: Prediction, thresholds: Sequence[float] | None, truth: Facts) -> tuple[ClassShares, ...]:
    """Return what the model and the file name of the images of each class."""
    targets = model.targets
    true = targets if targets.ndim > 1 else torch.nn.functional.one_hot(targets, len(truth.classes)).bool()
    named = decide(model.probabilities, truth.thresholds), decide(file.probabilities, thresholds)
    counts, (by_model, by_file) = true.sum(0), ((true & each).sum(0) for each in named)
    rows = zip(truth.classes, counts.tolist(), by_model.tolist(), by_file.tolist(), strict=True)
    return tuple(ClassShares(name, count, first / count, second / count) for name, count, first, second in rows if count)


def with_probabilities(expected: Prediction, probabilities: Tensor) -> Prediction:
    """Return the prediction with other probabilities (N, C): with the logits, in float64, that have them."""
    exact = probabilities.double()
    return replace(expected, logits=exact.log() if expected.activation == "softmax" else exact.logit(), temperature=1.0)


def _largest(difference: Tensor) -> float:
    return float("nan") if bool(difference.isnan().any()) else float(difference.max())


def in_order(answers: Tensor, classes: Sequence[str], wanted: Sequence[str]) -> Tensor:
    """Return the columns of answers (N, C) in the order of the classes `wanted`; as they are where the names are others."""
    if sorted(classes) != sorted(wanted) or answers.shape[1] != len(classes):
        return answers[:, :0]
    return answers[:, [classes.index(name) for name in wanted]]


def count_agreeing(answers: Tensor, expected: Tensor, thresholds: Sequence[float] | None, wanted_thresholds: Sequence[float] | None) -> int:
    """Return how many rows of two (N, C) probabilities name the same labels, each by thresholds of its own.

    Where every label has a threshold, one whose probability lies on it up to rounding agrees either way.
    """
    same = decide(answers, thresholds) == decide(expected, wanted_thresholds)
    if thresholds is not None and thresholds == wanted_thresholds:
        same |= (answers - expected).abs() <= ROUNDING
    return int(same.all(1).sum())
