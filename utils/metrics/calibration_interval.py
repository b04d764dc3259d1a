"""How sure a calibration error is: an interval for what endless answers would show.

The error is a sum of absolute gaps, one of each bin. Chance moves every gap, and so makes the sum larger, the more the smaller the gaps
are; resampled answers are moved once more. So neither percentiles of a bootstrap nor the basic interval hold the true error. Here the
interval is found by inverting a test (Carpenter: Test Inversion Bootstrap Confidence Intervals, 1999): an error belongs to it where noise
of the size that resampling finds, on top of gaps that sum up to this error, would give the error that was seen.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from utils.metrics.calibration import BINS, bin_of
from utils.metrics.statistics import RESAMPLES, Interval
from utils.randomness import Stream, numpy_rng

# Chance of an error beyond each end.
TAIL = 0.025
# Halvings of a range: the ends are known to a thousandth of it.
HALVINGS = 12
MOST_CELLS = 4_000_000
TINY = 1e-300


def calibration_error_interval(
    probabilities: np.ndarray, right: np.ndarray, units: np.ndarray | None = None, *, count: int | None = None, seed: int = 0
) -> Interval:
    """Return the expected calibration error of answers with its 95% interval, which holds the error itself.

    The interval begins at 0 where calibrated answers would err as much by chance.

    Args:
        probabilities: with which the answers were given, (K,).
        right: whether each is, bool (K,).
        units: number of the image, or group, of each answer, from 0, (K,): whole ones are drawn. None where each stands for itself.
        count: number of units, those without answers included; None where each of them has some.
        seed: of the draws.
    """
    answers = len(probabilities)
    units = np.arange(answers) if units is None else units
    count = int(units.max(initial=-1)) + 1 if count is None else count
    if not answers:
        return Interval(0.0, 0.0, 1.0)
    bins = _Bins.of(probabilities.astype(np.float64), right, units, count)
    gaps, noise = bins.gaps.sum(0) / answers, bins.noise(numpy_rng(Stream.RESAMPLE, seed, count))
    value = float(np.abs(gaps).sum())
    if value == 0:
        return Interval(0.0, 0.0, min(1.0, float(np.quantile(np.abs(noise).sum(1), 1 - TAIL))))

    def beyond(gaps: np.ndarray) -> float:
        """Return how often an error as large or larger is seen where these are the true gaps."""
        return float((np.abs(gaps + noise).sum(1) >= value).mean())

    # Few gaps with much noise beside them show the largest error, even ones the smallest: each end is that of the worse case.
    sure = gaps * np.maximum(0, 1 - noise.var(0) / np.maximum(gaps**2, TINY))
    low = 0.0
    if sure.any() and beyond(0 * gaps) < TAIL:
        low = _last(lambda error: beyond(error * sure / np.abs(sure).sum()) < TAIL, 0.0, value)
    far = value
    while far < 1 and beyond(far * gaps / value) <= 1 - TAIL:
        far *= 2
    high = _last(lambda error: beyond(error * gaps / value) <= 1 - TAIL, 0.0, far)
    return Interval(value, min(value, low), min(1.0, max(value, high)))


@dataclass(frozen=True)
class _Bins:
    """What each unit adds to each bin: answers and right ones, and how far probabilities are above being right, (U, B) each."""

    answers: np.ndarray
    right: np.ndarray
    gaps: np.ndarray

    @staticmethod
    def of(probabilities: np.ndarray, right: np.ndarray, units: np.ndarray, count: int) -> "_Bins":
        cells = units * BINS + bin_of(probabilities)
        added = (np.ones(len(cells)), right.astype(np.float64), probabilities - right.astype(np.float64))
        return _Bins(*(np.bincount(cells, each, count * BINS).reshape(count, BINS) for each in added))

    def noise(self, rng: np.random.Generator) -> np.ndarray:
        """Return how far the gaps of draws are from those of all answers, (R, B), as shares of all answers."""
        count, total = len(self.answers), self.answers.sum()
        from scipy.special import ndtri, stdtrit

        whole, sizes, drawn = self.gaps.sum(0) / total, self.answers.sum(1), np.empty((RESAMPLES, BINS))
        at_once = max(1, MOST_CELLS // count)
        for start in range(0, RESAMPLES, at_once):
            rows = min(at_once, RESAMPLES - start)
            times = np.stack([np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(rows)]).astype(np.float64)
            drawn[start : start + rows] = times @ self.gaps / np.maximum(times @ sizes, 1)[:, None]
        # So few units know their own deviation as badly as Student's t has it.
        few = max(1, count - 1)
        wider = float(stdtrit(few, 1 - TAIL) / ndtri(1 - TAIL)) * np.sqrt(count / few)
        return wider * (drawn - whole) + rng.normal(size=drawn.shape) * np.sqrt(self._hidden_variance()) / total

    def _hidden_variance(self) -> np.ndarray:
        """Return by how much resampling underestimates the variance of the gaps, (B,), times the square of the number of answers.

        Of three answers that are all right no draw has a wrong one. As if two more were right and two wrong (Agresti, Coull: Approximate
        is Better than Exact for Interval Estimation of Binomial Proportions, 1998), where answers of a unit count together.
        """
        answers, squares = self.answers.sum(0), (self.answers**2).sum(0)
        share, worth = self.right.sum(0) / np.maximum(answers, 1), answers**2 / np.maximum(squares, 1)
        likely = (share * worth + 2) / (worth + 4)
        return np.maximum(0, likely * (1 - likely) - share * (1 - share)) * squares


def _last(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Return about the largest number of a range up to which something holds."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
