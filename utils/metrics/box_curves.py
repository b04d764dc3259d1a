"""What a least score makes of answered boxes: precision, recall and F1 of every class, at one overlap."""

from dataclasses import dataclass

import numpy as np

from utils.metrics.average_precision import by_class
from utils.metrics.box_matching import Matches

# Least scores that are looked at.
STEPS = np.arange(1001) / 1000


@dataclass(frozen=True)
class BoxCurves:
    """Counts of every class (C) at some least scores (S).

    Attributes:
        steps: the least scores, ascending, (S,).
        found: truths that are found, (C, S).
        said: answers that count, (C, S).
        real: truths that count, (C,).
    """

    steps: np.ndarray
    found: np.ndarray
    said: np.ndarray
    real: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        """Share of the answers that find something, (C, S); 0 without answers."""
        return self.found / np.maximum(self.said, 1)

    @property
    def recall(self) -> np.ndarray:
        """Share of the truths that are found, (C, S); 0 without truths."""
        return self.found / np.maximum(self.real, 1)[:, None]

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of the two, (C, S)."""
        return 2 * self.found / np.maximum(self.said + self.real[:, None], 1)

    def mean_f1(self) -> np.ndarray:
        """Return the mean F1 over the classes that occur, (S,)."""
        occurs = self.real > 0
        return self.f1[occurs].mean(0) if occurs.any() else np.zeros(len(self.steps))

    def best(self) -> float:
        """Return the least score of the best mean F1: the middle of those that reach it; 0.5 where nothing is found."""
        mean = self.mean_f1()
        places = np.flatnonzero(mean >= mean.max())
        return float(self.steps[places[len(places) // 2]]) if mean.max() > 0 else 0.5


def box_curves(matches: Matches, classes: int, steps: np.ndarray = STEPS, threshold: int = 0) -> BoxCurves:
    """Return the counts at least scores and one overlap of the matches, for objects of all sizes."""
    hits, counted = matches.hits[0, threshold], ~matches.ignored[0, threshold]
    found, said = np.zeros((classes, len(steps)), np.int64), np.zeros((classes, len(steps)), np.int64)
    # As single answers are compared with a least score: in the precision of the scores.
    edges = steps.astype(matches.answers.scores.dtype)
    for number, own in enumerate(by_class(matches.answers.classes, classes)):
        for counts, chosen in ((found, hits[own]), (said, counted[own])):
            ranked = np.sort(matches.answers.scores[own][chosen])
            counts[number] = len(ranked) - np.searchsorted(ranked, edges, side="left")
    real = np.bincount(matches.truths.classes[~matches.uncounted[0]], minlength=classes)[:classes]
    return BoxCurves(steps, found, said, real)


@dataclass(frozen=True)
class ClassFigures:
    """Figures and counts of every class at one least score, (C,) each.

    Attributes:
        precision, recall, f1: shares.
        real, said, found: truths, answers and truths that are found.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    real: np.ndarray
    said: np.ndarray
    found: np.ndarray


def class_figures(matches: Matches, classes: int, confidence: float) -> ClassFigures:
    """Return the figures at an overlap of the first threshold of the matches."""
    curves = box_curves(matches, classes, np.array([confidence]))
    counts = curves.real, curves.said[:, 0], curves.found[:, 0]
    return ClassFigures(curves.precision[:, 0], curves.recall[:, 0], curves.f1[:, 0], *counts)
