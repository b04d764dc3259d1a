"""Figures of images that come in groups, such as shots of one object, which are no separate evidence: whole groups are drawn.

Effective number of images: Kish: Survey Sampling (1965); its use in an interval for shares: Korn, Graubard: Confidence Intervals for
Proportions with Small Expected Number of Positive Counts Estimated from Survey Data (1998). The test is Fisher's randomization test
with whole groups, which is McNemar's where every group is one image.
"""

from collections.abc import Sequence

import numpy as np

from utils.metrics.statistics import RESAMPLES, Z95, Interval, mcnemar, studentized_mean, wilson
from utils.randomness import Stream, numpy_rng


def number_groups(names: Sequence[str]) -> np.ndarray | None:
    """Return the number of the group of every image, (N,), from 0 in the order of their first images; None where no two images share one.

    Args:
        names: of the groups; '' is a group of its own.
    """
    numbers: dict[str | int, int] = {}
    found = [numbers.setdefault(name or place, len(numbers)) for place, name in enumerate(names)]
    return None if len(numbers) == len(found) else np.array(found, dtype=np.int64)


def one_of_each(groups: np.ndarray) -> np.ndarray:
    """Return the place of one image of every group, rising, (G,): drawn by position, as the first may be the best shot."""
    order = numpy_rng(Stream.RESAMPLE, len(groups)).permutation(len(groups))
    return np.sort(order[np.unique(groups[order], return_index=True)[1]])


def fully_dependent(groups: np.ndarray) -> float:
    """Return how many separate images are worth as much, if all images of a group are alike; (N,) numbers of groups."""
    sizes = np.unique(groups, return_counts=True)[1].astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(sizes) else 0.0


def effective_sample_size(flags: np.ndarray, groups: np.ndarray) -> float:
    """Return how many separate images would tell a share as well as these do.

    Where all or none are flagged, nothing shows how alike the images of a group are, and they count as wholly alike.

    Args:
        flags: bool (N,).
        groups: numbers (N,).
    """
    from scipy.stats import t

    numbers = np.unique(groups, return_inverse=True)[1]
    count, among = len(flags), int(numbers.max(initial=-1)) + 1
    if among == count:
        return count
    cluster_share = float(flags.mean())
    if cluster_share in (0.0, 1.0) or among == 1:
        return fully_dependent(groups)
    sums = np.bincount(numbers, weights=flags - cluster_share)
    variance = among / (among - 1) * float((sums**2).sum()) / count**2
    # The variance is itself known from so many groups only.
    return min(float(count), cluster_share * (1 - cluster_share) / variance) * float(Z95 / t.ppf(0.975, among - 1)) ** 2


def cluster_share(flags: np.ndarray, groups: np.ndarray | None = None) -> Interval:
    """Return the share of images that are flagged, bool (N,), with Wilson's 95% interval.

    For groups, numbers (N,), it is that of the effective number of images.
    """
    if groups is None or len(flags) == 0:
        return wilson(int(flags.sum()), len(flags))
    value, number = float(flags.mean()), effective_sample_size(flags, groups)
    limits = wilson(value * number, number)
    return Interval(value, limits.low, limits.high)


def cluster_mean(values: np.ndarray, groups: np.ndarray | None = None, *, seed: int = 0) -> Interval:
    """Return `studentized_mean` of values of 0 or more, (N,); for groups, numbers (N,), whole groups are drawn."""
    if groups is None:
        return studentized_mean(values, seed=seed)
    sums, sizes = np.bincount(groups, weights=values), np.bincount(groups).astype(float)
    among, middle = len(sums), float(values.mean())

    def error(sums: np.ndarray, sizes: np.ndarray) -> float:
        return float(np.sqrt(((sums - sums.sum() / sizes.sum() * sizes) ** 2).sum()) / sizes.sum())

    whole = error(sums, sizes) if np.isfinite(middle) else 0.0
    if not np.isfinite(middle) or whole == 0.0:
        return Interval(middle, middle, middle)
    rng = numpy_rng(Stream.RESAMPLE, seed, among)
    ratios = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        drawn = rng.integers(0, among, among)
        ratios[number] = (sums[drawn].sum() / sizes[drawn].sum() - middle) / max(error(sums[drawn], sizes[drawn]), 1e-3 * whole)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Interval(middle, max(0.0, middle - float(high) * whole), middle - float(low) * whole)


def flip_test(gained: np.ndarray, lost: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Return the two-sided exact p-value of two models that are equally often right.

    Without groups it is McNemar's. With groups the two models are exchanged in whole groups, in every way that there is: the p-value is
    the part of these in which the numbers of their right answers are as far apart.

    Args:
        gained, lost: places of the images that the second, or the first, of the models alone answers rightly.
        groups: numbers (N,).
    """
    if groups is None:
        return mcnemar(len(lost), len(gained))
    count = int(groups.max()) + 1
    change = np.bincount(groups[gained], minlength=count) - np.bincount(groups[lost], minlength=count)
    apart = np.abs(change[change != 0])
    # The chance of every sum of a random part of them; a sum s of the part stands for a difference of 2 s - all.
    chances = np.ones(1)
    for step in apart.tolist():
        wider = np.zeros(len(chances) + step)
        wider[: len(chances)] += chances / 2
        wider[step:] += chances / 2
        chances = wider
    differences = np.abs(2 * np.arange(len(chances)) - apart.sum())
    return min(1.0, float(chances[differences >= abs(int(change.sum()))].sum()))
