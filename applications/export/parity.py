"""Whether a written file gives the answers of the model: how much they may differ, and how much they do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# Points of the figure that rounding may cost.
ROUNDING = 1e-5


@dataclass(frozen=True)
class Allowed:
    """What a file of some precision may differ by.

    Attributes:
        difference: of any probability or score.
        agreeing: share of the answers that must agree.
        drop: of the headline figure, as a share; None where the other bounds say enough.
        mean: of any image on average, as `Reference.mean_differences` takes it; None where the bound of single ones says enough.
    """

    difference: float
    agreeing: float
    drop: float | None = None
    mean: float | None = None


# In 8 bits every number moves: what counts is the figure.
ALLOWED_INT8 = Allowed(1.0, 0.0, 0.005)


class ClassFigure(NamedTuple):
    """The figure of a class.

    Attributes:
        name: of the class.
        number: how many images, pixels or objects it rests on.
        value: as a share.
    """

    name: str
    number: int
    value: float


class Figures(NamedTuple):
    """How good some answers are: the headline figure, as a share, and that of every class that occurs."""

    name: str
    value: float
    classes: tuple[ClassFigure, ...]


class ClassShares(NamedTuple):
    """The figure of a class by the model and by the file, as shares; `number` as in `ClassFigure`."""

    name: str
    number: int
    model: float
    file: float


class Words(NamedTuple):
    """How the answers of a task are spoken of.

    Attributes:
        answered: what agrees or does not, such as labels.
        value: the number that may differ, such as a probability.
        counted: what the figure of a class rests on, such as images.
        figure: of a class, such as 'found'.
        remedy: what to do where there are none; '' where there always are some.
        mean: what `Reference.mean_differences` takes of an image.
    """

    answered: str
    value: str
    counted: str
    figure: str
    remedy: str = ""
    mean: str = "mean difference"


@dataclass(frozen=True)
class Parity:
    """A file and its model on the same images.

    Attributes:
        images: how many.
        answers: how many answers were compared.
        agreeing: how many of them agree.
        largest: difference of probabilities or scores, images one by one.
        mean: of the mean differences of the images, one by one, as `Reference.mean_differences` takes them.
        batched: largest difference when several images go in together.
        headline: name of the figure below.
        model, file: that figure of both, as a share.
        worst: position of the image with the largest difference.
        words: how these are spoken of.
        classes: the figure of each class that occurs.
        worst_mean: mean difference of the image in which it is largest, alone or among others.
    """

    images: int
    answers: int
    agreeing: int
    largest: float
    mean: float
    batched: float
    headline: str
    model: float
    file: float
    worst: int
    words: Words
    classes: tuple[ClassShares, ...] = ()
    worst_mean: float = 0.0

    @property
    def drop(self) -> float:
        """What the file loses of the figure, as a share; below 0 where it gains."""
        return self.model - self.file

    def describe(self) -> str:
        """Return it in a line."""
        return (
            f"{self.agreeing:,} of {self.answers:,} {self.words.answered} agree, largest {self.words.value} difference {self.largest:.1e}, "
            f"in batches {self.batched:.1e}; {self.headline} {100 * self.file:.2f}%, of the model {100 * self.model:.2f}%"
        )

    def refusal(self, allowed: Allowed) -> str:
        """Return why the file is not kept, or ''."""
        if not self.answers:
            return f"no image of the comparison has {self.words.answered}, so nothing can be compared; {self.words.remedy}"
        # Of numpy, since its maximum with what is no number is none.
        apart = np.maximum(self.largest, self.batched)
        if np.isnan(apart):
            return f"a {self.words.value} is no number, or the answers have other classes or another shape"
        if not apart <= allowed.difference:
            return f"a {self.words.value} differs by up to {apart:.1e}, allowed are {allowed.difference:.0e}"
        if allowed.mean is not None and not self.worst_mean <= allowed.mean:
            return f"in one image the {self.words.mean} is {self.worst_mean:.1e}, allowed are {allowed.mean:.0e}"
        if self.agreeing < allowed.agreeing * self.answers:
            return f"{self.answers - self.agreeing:,} of {self.answers:,} {self.words.answered} differ"
        if allowed.drop is not None and np.isnan(self.drop):
            return f"{self.headline} of these images is no number, so what is lost is unknown; compare on others with --split"
        if allowed.drop is not None and not self.drop <= allowed.drop + ROUNDING:
            return f"{self.headline} falls by {100 * self.drop:.2f} points, allowed are {100 * allowed.drop:.2f}"
        return ""


def class_shares(model: Figures, file: Figures) -> tuple[ClassShares, ...]:
    """Return the figure of every class by both."""
    told = {each.name: each.value for each in file.classes}
    return tuple(ClassShares(each.name, each.number, each.value, told.get(each.name, float("nan"))) for each in model.classes)


def in_order(answers: np.ndarray, classes: Sequence[str], wanted: Sequence[str], *, axis: int = 1) -> np.ndarray:
    """Return answers whose axis of classes, in their order `classes`, is in the order `wanted`; none of it where the names are others."""
    if sorted(classes) != sorted(wanted) or answers.shape[axis] != len(classes):
        return answers.take([], axis)
    return answers.take([classes.index(name) for name in wanted], axis)


def largest_of(differences: np.ndarray) -> float:
    """Return the largest difference; nan where one is no number."""
    return float(differences.max(initial=0.0)) if not np.isnan(differences).any() else float("nan")


def worst_of(differences: np.ndarray) -> int:
    """Return the position of the image with the largest difference, of (N, ...); one that is no number is the largest."""
    return int(np.nan_to_num(differences.reshape(len(differences), -1), nan=np.inf).max(1).argmax())
