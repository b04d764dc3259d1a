"""Average precision of images that count several times, for intervals: nothing is matched or sorted again."""

from dataclasses import dataclass

import numpy as np

from utils.metrics.average_precision import by_class, reached
from utils.metrics.box_matching import THRESHOLDS, Matches


@dataclass(frozen=True)
class _Overlap:
    """One class at one overlap.

    Attributes:
        hits: rows of the answers that find something, by falling score.
        uncounted: rows of answers that count as nothing.
    """

    hits: np.ndarray
    uncounted: np.ndarray


@dataclass(frozen=True)
class _Class:
    """One class: the images of its answers by falling score, as far as the last one that finds anything, and of its truths."""

    images: np.ndarray
    truths: np.ndarray
    overlaps: tuple[_Overlap, ...]


class ResampledPrecision:
    """Computes average precision as often as images are drawn anew.

    Args:
        matches: of all images, whose positions are 0, 1, ...
        classes: how many.
    """

    def __init__(self, matches: Matches, classes: int) -> None:
        self._classes = [
            _class_of(matches, own, true)
            for own, true in zip(by_class(matches.answers.classes, classes), by_class(matches.truths.classes, classes), strict=True)
        ]
        # Whether each class has truths, bool (C,); numbers that a drawing adds up.
        self.occurs = np.array([len(each.truths) > 0 for each in self._classes])
        # Position of the images that show each class.
        self.images = [np.unique(each.truths) for each in self._classes]
        self.cost = sum(len(each.overlaps) * (len(each.images) + 2000) for each in self._classes if len(each.truths))

    def __call__(self, times: np.ndarray) -> np.ndarray:
        """Return the average precision of every class and overlap, (C, T), with image i counted times[i] times; nan without truths."""
        return np.stack([self._precision(each, times) for each in self._classes])

    def _precision(self, own: _Class, times: np.ndarray) -> np.ndarray:
        total = times[own.truths].sum()
        if not total:
            return np.full(len(own.overlaps), np.nan)
        drawn = times[own.images]
        summed = drawn.cumsum()
        values = np.zeros(len(own.overlaps))
        for number, each in enumerate(own.overlaps):
            said = summed[each.hits]
            if len(each.uncounted):
                less = np.concatenate([[0], drawn[each.uncounted].cumsum()])
                said = said - less[np.searchsorted(each.uncounted, each.hits)]
            found = drawn[each.hits].cumsum()
            values[number] = reached(found, said, total).mean() if len(found) else 0.0
        return values


def _class_of(matches: Matches, own: slice, true: slice) -> _Class:
    order = own.start + np.argsort(-matches.answers.scores[own], kind="stable")
    hits, ignored = matches.hits[0][:, order], matches.ignored[0][:, order]
    places = np.flatnonzero(hits.any(0))
    # What comes after the last hit changes nothing.
    end = int(places[-1]) + 1 if len(places) else 0
    overlaps = tuple(_Overlap(np.flatnonzero(hit[:end]), np.flatnonzero(none[:end])) for hit, none in zip(hits, ignored, strict=True))
    truths = matches.truths.images[true][~matches.uncounted[0, true]]
    return _Class(matches.answers.images[order][:end], truths, overlaps)


def headline_figures(precision: np.ndarray) -> dict[str, float]:
    """Return AP, AP50 and AP75 of (C, T), means over the classes that have truths; 0 where none has."""
    told = precision[np.isfinite(precision).all(1)]
    columns = {"AP": slice(None), "AP50": THRESHOLDS.round(2) == 0.5, "AP75": THRESHOLDS.round(2) == 0.75}
    return {name: float(told[:, chosen].mean()) if len(told) else 0.0 for name, chosen in columns.items()}
