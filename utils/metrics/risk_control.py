"""Thresholds that keep a limit on images to come, not only on those that chose them.

Geifman, El-Yaniv: Selective Classification for Deep Neural Networks (arXiv 1705.08500), with the exact bound of Clopper and
Pearson: The Use of Confidence or Fiducial Limits (1934). A threshold is kept when so few failures among so many answers are
improbable for a share above the limit.

Many thresholds are tried. The paper divides the risk of a broken promise by the number of its steps. Here they are tried from the
strictest on, and the first that fails ends the walk, which needs no division: Angelopoulos et al.: Learn then Test (arXiv
2110.01052). So that one early failure does not end all, there are several starts, which share the risk; a walk that goes on
hands its part to the next start: Wiens: A Fixed Sequence Bonferroni Procedure (2003).

Images must be evidence of their own here. Of shots of one object, or frames of one video, give one (`utils/metrics/grouped_statistics.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

# A threshold above every probability: accept nothing.
NEVER = 2.0
# How often a promise may be broken by chance.
RISK = 0.05
# Fixed-sequence tests start at the counts that allow this many failures.
# Found by simulation to keep most of the answers, whether errors begin early or late.
STARTS = (0, 2, 8, 30, 120)
# A start beyond this part of the answers would take more from the others than it gives.
LATEST_START = 0.7
# A class with so many times the fewest answers that could keep a promise alone gets a threshold of its own. With fewer, a group of its own
# costs more answers than it wins: of 1,000 answers of six classes 25% were accepted with 3, 53% with 6, 61% with 10.
ENOUGH = 10
# With fewer accepted answers than this, no estimate of the images needed is given.
FEWEST_ANSWERS = 5
# Smallest factor that is ever suggested, even when the bound was missed by chance.
MORE = 1.25


@dataclass(frozen=True)
class CertifiedThreshold:
    """A threshold and what stands behind it.

    Attributes:
        threshold: scores from it on are accepted; NEVER where nothing can be.
        count: how many of the given images reach it.
        failures: how many of those fail.
    """

    threshold: float
    count: int
    failures: int


def most_failures(count: int, limit: float, risk: float) -> int:
    """Return how many of so many images may fail, when the true share is to be within the limit but for this risk; -1 for not even none.

    Args:
        count: number of images.
        limit: share in [0, 1].
        risk: probability of being wrong about it.
    """
    from scipy.special import bdtr

    return int((bdtr(np.arange(count), count, limit) <= risk).sum()) - 1


@cache
def fewest(limit: float, risk: float, failures: int = 0) -> int:
    """Return the smallest number of images that prove the limit with so many failures; a very large one for a limit of 0."""
    from scipy.special import bdtr

    low, high = failures, failures + 1
    while bdtr(failures, high, limit) > risk:
        low, high = high, 2 * high
        if high > 2**40:
            return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if bdtr(failures, middle, limit) > risk else (low, middle)
    return high


def limit_risk(scores: np.ndarray, failing: np.ndarray, limit: float, risk: float) -> CertifiedThreshold:
    """Return the lowest threshold from which on at most this share of what is accepted fails, on other images too.

    Args:
        scores: an image is accepted when its score in [0, 1] reaches the threshold, (N,).
        failing: an accepted image fails when this reaches the threshold too, (N,); at most the score, below 0 where it never fails.
        limit: largest share of failures.
        risk: probability that the promise is broken.
    """
    from scipy.special import bdtr

    ranked, counts, failures = count_by_threshold(scores, failing)
    starts = _starts(len(scores), limit, risk)
    places = [*np.searchsorted(counts, starts).tolist(), len(counts)]
    held, best = 0.0, -1
    for first, last in pairwise(places):
        held += risk / len(starts)
        passed = bdtr(failures[first:last], counts[first:last], limit) <= held
        stop = len(passed) if passed.all() else int(passed.argmin())
        best = first + stop - 1 if stop else best
        held = held if stop == len(passed) else 0.0
    if best < 0:
        return CertifiedThreshold(NEVER, 0, 0)
    lower = 0.0 if best + 1 == len(ranked) else between(float(ranked[best + 1]), float(ranked[best]))
    return CertifiedThreshold(lower, int(counts[best]), int(failures[best]))


def count_by_threshold(scores: np.ndarray, failing: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the falling values of the scores, (T,), and how many images reach each, and how many of those fail."""
    ranked, counts = np.unique(-scores, return_counts=True)
    failures = np.searchsorted(np.sort(-failing), ranked, "right")
    return -ranked, counts.cumsum(), failures


def _starts(count: int, limit: float, risk: float) -> list[int]:
    """Return the numbers of accepted images from which on thresholds are tried; they depend on nothing that a label says."""
    for number in range(len(STARTS), 0, -1):
        found = [fewest(limit, risk / number, failures) for failures in STARTS[:number]]
        if found[-1] <= (count if number == 1 else LATEST_START * count):
            return found
    return []


def images_wanted(scores: np.ndarray, failing: np.ndarray, limit: float, risk: float) -> float:
    """Return how many times as many images would let `limit_risk` accept some, if they fail as often; inf where none would.

    By Chernoff's bound, for the threshold that needs the fewest. When no image failed, a failure rate of a quarter of the limit is assumed.
    """
    _, counts, failures = count_by_threshold(scores, failing)
    share = np.maximum(failures / np.maximum(counts, 1), limit / 4)
    possible = (share < limit) & (counts >= FEWEST_ANSWERS)
    if not possible.any():
        return float("inf")
    share, counts = share[possible], counts[possible]
    apart = share * np.log(share / limit) + (1 - share) * np.log((1 - share) / (1 - limit))
    return max(MORE, float((np.log(2 / risk) / (apart * counts)).min()))


def between(low: float, high: float) -> float:
    """Return a float32 above `low`, and at most `high`: halfway, so that rounding moves no image across."""
    middle = float(np.float32((low + high) / 2))
    return middle if low < middle else high


def pool_small(sizes: np.ndarray, needed: Callable[[int], int]) -> list[np.ndarray]:
    """Return groups of classes, each large enough for a promise: large classes alone, the others together as the last group.

    Args:
        sizes: how many images speak for each class, (C,); nothing that depends on which of them fail.
        needed: number of groups, which share the risk -> fewest images that could keep a promise in each.
    """
    order = np.argsort(-sizes, kind="stable")
    for alone in range(len(sizes), 0, -1):
        rest = order[alone:]
        fewest_each = needed(alone + bool(len(rest)))
        if sizes[order[alone - 1]] >= ENOUGH * fewest_each and (not len(rest) or sizes[rest].sum() >= fewest_each):
            return [*order[:alone, None], *([np.sort(rest)] if len(rest) else [])]
    return [np.arange(len(sizes))]
