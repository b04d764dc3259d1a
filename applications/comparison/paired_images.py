"""Compares models on the same images, by a row of counts an image: differences with paired intervals, and a test that exchanges models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from utils.metrics.grouped_statistics import number_groups
from utils.metrics.statistics import Interval, bootstrap, holm
from utils.randomness import Stream, numpy_rng

SIGNIFICANT = 0.05
RESAMPLES = 1000
# Random exchanges of the two models; a p-value is never below 1 / (1 + EXCHANGES).
EXCHANGES = 2000


# How often each image is counted, (N,), and rows (N, K) -> name -> value; the first one is the headline.
FiguresOf = Callable[[np.ndarray, np.ndarray], Mapping[str, float]]


class Counted(NamedTuple):
    """What a row of COMPARISONS returns of a split.

    Attributes:
        positions: of the N images in the split.
        truth, rows, figures: as in `ImageCounts`.
    """

    positions: Sequence[int]
    truth: tuple[object, ...]
    rows: np.ndarray
    figures: FiguresOf


@dataclass(frozen=True, eq=False)
class ImageCounts:
    """What a model said of N images, a row each, from which figures are computed.

    Attributes:
        name: of the model, for people.
        source: the file that it was read from.
        classes: names.
        images: paths relative to the root of the data.
        truth: what is known of each image, equal for models that were measured with the same truth.
        rows: (N, K).
        figures: what follows from rows.
        groups: name of the group of every image; empty where none are known.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    images: tuple[str, ...]
    truth: tuple[object, ...]
    rows: np.ndarray
    figures: FiguresOf
    groups: tuple[str, ...] = ()

    def measured(self) -> dict[str, float]:
        """Return the figures over all images."""
        return dict(self.figures(np.ones(len(self.images), np.int64), self.rows))


@dataclass(frozen=True, eq=False)
class ImagePair:
    """A model compared with the first one.

    Attributes:
        other: the model.
        differences: its figures minus those of the first, with paired bootstrap intervals.
        p: of the test on the headline, adjusted for the number of comparisons.
        groups: number of groups that the images come in; None where they are independent.
    """

    other: ImageCounts
    differences: Mapping[str, Interval]
    p: float
    groups: int | None

    def verdict(self) -> str:
        """Return the verdict."""
        if self.p >= SIGNIFICANT:
            return "no significant difference"
        return "better" if next(iter(self.differences.values())).value > 0 else "worse"


def compare_images(models: Sequence[ImageCounts], *, seed: int) -> list[ImagePair]:
    """Return each other model compared with the first; all have rows for the same images, in the same order."""
    first, *others = models
    groups = next((number_groups(model.groups) for model in models if model.groups), None)
    adjusted = holm([exchange_test(first, other, groups, seed=seed) for other in others])
    count, pairs = len(first.images), []
    for other, p in zip(others, adjusted, strict=True):

        def change(times: np.ndarray, other: ImageCounts = other) -> dict[str, float]:
            mine, theirs = first.figures(times, first.rows), other.figures(times, other.rows)
            return {name: theirs[name] - mine[name] for name in mine}

        found = bootstrap(change, count, seed=seed, resamples=RESAMPLES, groups=groups)
        pairs.append(ImagePair(other, found, p, None if groups is None else int(groups.max()) + 1))
    return pairs


def exchange_test(first: ImageCounts, other: ImageCounts, groups: np.ndarray | None, *, seed: int) -> float:
    """Return the two-sided p-value of two models that are equally good by the headline.

    If they are, it makes no difference whose answer to an image, or to a group of them, is whose: the p-value is the part of random
    exchanges after which the two are as far apart as they are (Fisher's randomization test).

    Args:
        first, other: with rows that are on one scale.
        groups: numbers (N,) from 0; None where images are independent.
        seed: of the exchanges.
    """
    ones = np.ones(len(first.images), np.int64)
    headline = next(iter(first.measured()))

    def apart(exchanged: np.ndarray) -> float:
        rows = exchanged[:, None]
        mine = first.figures(ones, np.where(rows, other.rows, first.rows))[headline]
        return abs(first.figures(ones, np.where(rows, first.rows, other.rows))[headline] - mine)

    units = len(first.images) if groups is None else int(groups.max(initial=-1)) + 1
    rng = numpy_rng(Stream.RESAMPLE, seed, units)
    observed = apart(np.zeros(len(first.images), bool))
    drawn = (rng.random(units) < 0.5 for _ in range(EXCHANGES))
    # Rounding must not tell equal differences apart.
    as_far = sum(apart(each if groups is None else each[groups]) >= observed - 1e-12 for each in drawn)
    return (1 + as_far) / (1 + EXCHANGES)


def sentence(first: ImageCounts, pair: ImagePair) -> str:
    """Return the verdict of a comparison with the difference in the headline."""
    name, change = next(iter(pair.differences.items()))
    points = f"{name} {100 * change.value:+.2f} points ({100 * change.low:+.2f} to {100 * change.high:+.2f}), p = {pair.p:.3g}"
    if pair.groups is not None:
        points += f", over {pair.groups} groups"
    if pair.p >= SIGNIFICANT:
        return f"no significant difference between {first.name} and {pair.other.name}: {points}"
    return f"{pair.other.name} is {pair.verdict()} than {first.name}: {points}"
