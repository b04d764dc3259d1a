"""How sure a figure is: intervals and paired tests over the images that it was measured on.

Bootstrap: Efron: Bootstrap Methods (1979), the percentile interval. McNemar: Note on the Sampling Error of the Difference between
Correlated Proportions (1947), in its exact form. Wilson: Probable Inference (1927). Holm: A Simple Sequentially Rejective Multiple Test
Procedure (1979). Jackknife: Tukey: Bias and Confidence in Not-quite Large Samples (1958).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from utils.randomness import Stream, numpy_rng

RESAMPLES = 1000
Z95 = 1.959964


@dataclass(frozen=True)
class Interval:
    """A figure and the limits of its 95% interval."""

    value: float
    low: float
    high: float

    def text(self, style: str = ".2%") -> str:
        """Return '97.22% (94.81% to 98.89%)'."""
        return f"{self.value:{style}} ({self.low:{style}} to {self.high:{style}})"

    def to_dict(self) -> dict[str, float]:
        """Return plain values, ready for JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}


def bootstrap(
    figures: Callable[[np.ndarray], Mapping[str, float]],
    count: int,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    shares: Collection[str] = (),
    evidence: Mapping[str, int] | None = None,
    groups: np.ndarray | None = None,
) -> dict[str, Interval]:
    """Return 95% intervals of figures over samples that are drawn again and again, with replacement: by default the percentiles.

    Args:
        figures: takes how often each sample was drawn, int (count,), and returns name -> value.
        count: number of samples.
        seed: the same seed gives the same intervals.
        resamples: how often to draw.
        shares: figures between 0 and 1. Theirs is `share_interval`, by deviation and bias of the draws.
        evidence: number of samples, or groups, that a share rests on, where these are not all: those that show a class.
        groups: number of the group of every sample, from 0, (count,): whole groups are drawn. None draws samples.
    """
    whole = figures(np.ones(count, dtype=np.int64))
    units = count if groups is None else int(groups.max(initial=-1)) + 1
    rng = numpy_rng(Stream.RESAMPLE, seed, units)
    times = (np.bincount(rng.integers(0, units, units), minlength=units) for _ in range(resamples if count else 0))
    drawn = [figures(each if groups is None else each[groups]) for each in times]
    found = {}
    for name, value in whole.items():
        values = np.array([each[name] for each in drawn], dtype=float)
        low, high = _limits(values)
        # A class may be missing from a draw, or from all; it has no figure there.
        values = values[np.isfinite(values)]
        if name in shares and len(values):
            deviation = float(values.std()) * np.sqrt(units / max(1, units - 1))
            likely = share_interval(value, deviation, float(values.mean() - value), (evidence or {}).get(name, units), among=units)
            low, high = likely.low, likely.high
        found[name] = Interval(float(value), float(low), float(high))
    return found


def _limits(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)


def wilson(hits: float, count: float) -> Interval:
    """Return the share hits / count with its 95% interval; that of nothing is anything from 0 to 1."""
    if count == 0:
        return Interval(float("nan"), 0.0, 1.0)
    share, square = hits / count, Z95**2
    center = (share + square / (2 * count)) / (1 + square / count)
    half = Z95 * np.sqrt(share * (1 - share) / count + square / (4 * count**2)) / (1 + square / count)
    return Interval(share, max(0.0, float(center - half)), min(1.0, float(center + half)))


def studentized_mean(values: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Return the mean of values of 0 or more, (N,), with its 95% interval by the bootstrap of the studentized mean.

    Few images with a large loss make the percentile interval too short and too low; dividing each draw by its own deviation mends
    most of that (Efron, Tibshirani: An Introduction to the Bootstrap, 1993).
    """
    count, mean, deviation = len(values), float(values.mean()) if len(values) else float("nan"), float(values.std()) if len(values) else 0.0
    if not np.isfinite(mean) or deviation == 0.0:
        return Interval(mean, mean, mean)
    rng = numpy_rng(Stream.RESAMPLE, seed, count)
    ratios = np.empty(resamples)
    for number in range(resamples):
        drawn = values[rng.integers(0, count, count)]
        ratios[number] = (drawn.mean() - mean) / max(float(drawn.std()), 1e-3 * deviation)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Interval(mean, max(0.0, mean - float(high) * deviation), mean - float(low) * deviation)


def share_interval(value: float, deviation: float, bias: float, count: int, *, among: int | None = None) -> Interval:
    """Return a 95% interval of a figure between 0 and 1 that is no plain share of samples, such as an F1.

    It is even on the scale of log odds, so that it stays within 0 and 1, and as wide as Student's t wants it, as the deviation is itself
    known from so many samples only. A bias that resampling finds may be noise: the interval holds that around the value, widened by the
    bias, and that around the value without the bias. Where all samples are right, or none, no resample differs, and it is Wilson's.

    Args:
        value: the figure.
        deviation, bias: what resampling finds of it.
        count: number of samples that the figure rests on.
        among: number of all samples; None where these are all.
    """
    if value in (0.0, 1.0):
        return wilson(round(value * count), count)
    if count < 2:
        return Interval(value, 0.0, 1.0)
    from scipy.special import expit, stdtrit

    least = 0.5 / (among or count)
    inside = min(max(value, least), 1 - least)
    odds, slope, quantile = np.log(inside / (1 - inside)), inside * (1 - inside), float(stdtrit(count - 1, 0.975))
    # The slope at the value serves both: at a middle moved close to 0 or 1 it vanishes, and the interval would cover nearly everything.
    spreads = ((odds, float(np.hypot(deviation, bias))), (odds - bias / slope, deviation))
    ends = [float(expit(middle + side * quantile * spread / slope)) for middle, spread in spreads for side in (-1, 1)]
    return Interval(value, min(value, *ends), max(value, *ends))


def distinct_units(flags: np.ndarray, groups: np.ndarray | None) -> int:
    """Return how many samples are flagged, bool (N,), or how many groups, numbers (N,), hold such."""
    return int(flags.sum()) if groups is None else len(np.unique(groups[flags]))


def confusion(targets: np.ndarray, found: np.ndarray, classes: int) -> np.ndarray:
    """Return how often each class was answered with each, int (C, C), a row a true class, for class indices (N,)."""
    return np.bincount(targets * classes + found, minlength=classes * classes).reshape(classes, classes)


def macro_f1(truth: np.ndarray, named: np.ndarray, groups: np.ndarray | None = None) -> Interval:
    """Return the mean F1 of the classes that occur, with its 95% interval by the jackknife.

    Args:
        truth: class indices (N,), or bool (N, C).
        named: answers, class indices (N,), or bool (N, C).
        groups: number of the group of every image, from 0, (N,): whole groups are left out. None leaves out images.
    """
    if groups is not None:
        return _macro_f1_of_groups(truth, named, groups)
    if truth.ndim == 1:
        right, classes = truth == named, int(max(truth.max(initial=0), named.max(initial=0))) + 1
        hits, real, said = (np.bincount(each, minlength=classes) for each in (truth[right], truth, named))
    else:
        hits, real, said = (truth & named).sum(0), truth.sum(0), named.sum(0)

    def without(hit: int, true: int, answer: int) -> np.ndarray:
        """Return the F1 of every class that occurs, else 0, after so many were taken from its counts."""
        left = real - true
        return np.where(left > 0, 2 * (hits - hit) / np.maximum(left + said - answer, 1), 0.0)

    whole = without(0, 0, 0)
    total, occurring = whole.sum(), int((real > 0).sum())
    if not occurring:
        return Interval(0.0, 0.0, 1.0)
    both, missed, extra = without(1, 1, 1) - whole, without(0, 1, 0) - whole, without(0, 0, 1) - whole
    last = (real == 1).astype(float)
    if truth.ndim == 1:
        changes, gone = np.where(right, both[truth], missed[truth] + extra[named]), last[truth]
    else:
        changes = (truth & named) @ both + (truth & ~named) @ missed + (named & ~truth) @ extra
        gone = truth @ last
    # The jackknife captures the variance from rare classes, which the bootstrap underestimates.
    value, count = float(total / occurring), len(truth)
    others = (total + changes) / np.maximum(occurring - gone, 1)
    if count == 1:
        return Interval(value, 0.0, 1.0)
    deviation = float(np.sqrt((count - 1) * others.var()))
    return share_interval(value, deviation, float((count - 1) * (others.mean() - value)), count)


def _macro_f1_of_groups(truth: np.ndarray, named: np.ndarray, groups: np.ndarray) -> Interval:
    classes = int(max(truth.max(initial=0), named.max(initial=0))) + 1 if truth.ndim == 1 else truth.shape[1]

    def counts(true: np.ndarray, said: np.ndarray) -> np.ndarray:
        """Return hits, images and answers of every class, (3, C)."""
        if truth.ndim == 1:
            return np.stack([np.bincount(each, minlength=classes) for each in (true[true == said], true, said)])
        return np.stack([(true & said).sum(0), true.sum(0), said.sum(0)])

    def mean_f1(hits: np.ndarray, real: np.ndarray, said: np.ndarray) -> float:
        occurs = real > 0
        return float((2 * hits[occurs] / (real + said)[occurs]).mean()) if occurs.any() else 0.0

    order, sizes = np.argsort(groups, kind="stable"), np.bincount(groups)
    whole, units = counts(truth, named), len(sizes)
    value = mean_f1(*whole)
    if units == 1 or not whole[1].any():
        return Interval(value, 0.0, 1.0)
    others = np.array([mean_f1(*(whole - counts(truth[own], named[own]))) for own in np.split(order, sizes.cumsum()[:-1])])
    return share_interval(value, float(np.sqrt((units - 1) * others.var())), float((units - 1) * (others.mean() - value)), units)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided exact p-value of McNemar's test.

    Args:
        only_first: images that the first of two models alone answers rightly.
        only_second: images that the second alone answers rightly.
    """
    if only_first + only_second == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values that hold for all comparisons together, in the given order."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def falling(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for every label the images by falling probability, and for every place the last one with the same probability, (N, C) each."""
    order = np.argsort(-probabilities, axis=0, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=0)
    count = len(ranked)
    ends = np.ones_like(ranked, dtype=bool)
    ends[:-1] = ranked[1:] != ranked[:-1]
    places = np.where(ends, np.arange(count)[:, None], count)
    return order, np.minimum.accumulate(places[::-1], axis=0)[::-1]


def weighted_average_precision(order: np.ndarray, last: np.ndarray, truth: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the average precision of every label, (C,), with image i counted counts[i] times; nan where a label does not occur.

    Images of equal probability count together, whatever their order.

    Args:
        order, last: (N, C), what `falling` returned.
        truth: bool (N, C).
        counts: int (N,).
    """
    drawn = counts[order]
    right = drawn * np.take_along_axis(truth, order, axis=0)
    hits = right.cumsum(0)
    precision = np.take_along_axis(hits / np.maximum(drawn.cumsum(0), 1), last, axis=0)
    total = hits[-1]
    return np.where(total > 0, (right * precision).sum(0) / np.maximum(total, 1), np.nan)
