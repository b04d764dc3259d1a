"""What a least score makes of answered boxes: precision, recall and F1 of every class, at one overlap."""

from dataclasses import dataclass

import numpy as np

from utils.average_precision import by_class
from utils.box_matching import Matches

# Least scores that are looked at.
STEPS = np.linspace(0.0, 1.0, 1001)


@dataclass(frozen=True)
class BoxCurves:
    """Counts of every class (C) at every least score of STEPS (S).

    Attributes:
        found: truths that are found, (C, S).
        said: answers that count, (C, S).
        real: truths that count, (C,).
    """

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
        return self.f1[occurs].mean(0) if occurs.any() else np.zeros(len(STEPS))

    def best(self) -> float:
        """Return the least score of the best mean F1: the middle of those that reach it; 0.5 where nothing is found."""
        mean = self.mean_f1()
        places = np.flatnonzero(mean >= mean.max())
        return float(STEPS[places[len(places) // 2]]) if mean.max() > 0 else 0.5


def box_curves(matches: Matches, classes: int, threshold: int = 0) -> BoxCurves:
    """Return the counts at one overlap of the matches, for objects of all sizes."""
    hits, counted = matches.hits[0, threshold], ~matches.ignored[0, threshold]
    scores = np.asarray(matches.answers.scores, np.float64)
    found, said = np.zeros((classes, len(STEPS)), np.int64), np.zeros((classes, len(STEPS)), np.int64)
    for number, own in enumerate(by_class(matches.answers.classes, classes)):
        for counts, chosen in ((found, hits[own]), (said, counted[own])):
            ranked = np.sort(scores[own][chosen])
            counts[number] = len(ranked) - np.searchsorted(ranked, STEPS, side="left")
    real = np.bincount(matches.truths.classes[~matches.uncounted[0]], minlength=classes)[:classes]
    return BoxCurves(found, said, real)
