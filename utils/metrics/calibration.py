"""How far probabilities can be trusted, and the one number that mends them.

Temperature scaling and the expected calibration error: Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural
Networks (arXiv 1706.04599). The softened targets of the fit: Platt: Probabilistic Outputs for Support Vector Machines (1999).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.randomness import Stream, numpy_rng

BINS = 15
# The temperature is one number: more of the table would move only digits that nobody sees.
MOST_CELLS = 2_000_000
LOWEST, HIGHEST = 0.05, 20.0
FOLDS = 5


@dataclass(frozen=True)
class Calibration:
    """What was chosen on validation images to turn logits into answers.

    Attributes:
        temperature: divides the logits before they become probabilities.
        thresholds: the probability from which on each class is named; None where the most probable class is the answer.
        reject: the probability below which an answer of each class does not count; None where every answer counts.
    """

    temperature: float = 1.0
    thresholds: tuple[float, ...] | None = None
    reject: tuple[float, ...] | None = None

    @staticmethod
    def from_plain(values: Mapping[str, Any]) -> "Calibration":
        """Return what `to_plain` wrote; older files lack some of it."""
        thresholds, reject = (None if values.get(name) is None else tuple(values[name]) for name in ("thresholds", "reject"))
        return Calibration(values.get("temperature", 1.0), thresholds, reject)

    def to_plain(self) -> dict[str, Any]:
        """Return the values as checkpoints hold them."""
        thresholds, reject = (None if each is None else list(each) for each in (self.thresholds, self.reject))
        return {"temperature": self.temperature, "thresholds": thresholds, "reject": reject}

    @property
    def multi_label(self) -> bool:
        """Whether every class that reaches its threshold is named, rather than one."""
        return self.thresholds is not None

    @property
    def has_thresholds(self) -> bool:
        """Whether there are thresholds of either kind."""
        return self.thresholds is not None or self.reject is not None

    def rejecting(self, asked: float | None, classes: int) -> tuple[float, ...] | None:
        """Return the probability below which an answer of each class does not count: the one that was asked for, else what was chosen."""
        return self.reject if asked is None else (asked,) * classes


def mean_log_loss(logits: np.ndarray, targets: np.ndarray, activation: str) -> float:
    """Return the cross entropy of logits (N, C) with dense targets (N, C), summed over classes, averaged over images.

    Args:
        logits: (N, C).
        targets: (N, C) in [0, 1]; with softmax every row sums to one.
        activation: 'softmax' or 'sigmoid'.
    """
    if activation == "softmax":
        shifted = logits - logits.max(1, keepdims=True)
        return float((np.log(np.exp(shifted).sum(1)) - (targets * shifted).sum(1)).mean())
    return float((np.logaddexp(0, logits) - targets * logits).sum(1).mean())


def fit_temperature(logits: np.ndarray, targets: np.ndarray, activation: str, rows: np.ndarray | None = None) -> float:
    """Return the temperature T at which the probabilities of logits / T have the least cross entropy.

    One image more is imagined, of which nothing is known: where every answer is right, the fit would otherwise make
    every probability one. 1 is returned for logits that are not finite, and for no images.

    Args:
        logits: (N, C), of images that the model was not trained on.
        targets: class indices (N,), or (N, C) dense.
        activation: 'softmax' or 'sigmoid'.
        rows: the images to fit on, positions; None takes all.
    """
    rows = np.arange(len(logits)) if rows is None else rows
    finite: np.ndarray = np.isfinite(logits).all(axis=1)  # pyright: ignore[reportAssignmentType]
    if len(rows) == 0 or not finite[rows].all():
        return 1.0
    from scipy.optimize import minimize_scalar

    classes = logits.shape[1]
    # No larger table is ever made of the images.
    chosen = rows[:: max(1, -(-len(rows) * classes // MOST_CELLS))]
    kept = logits[chosen].astype(np.float64)
    dense = targets[chosen].astype(np.float64) if targets.ndim == 2 else np.eye(classes)[targets[chosen]]
    even = 1 / classes if activation == "softmax" else 0.5
    softened = (dense * len(kept) + even) / (len(kept) + 1)
    found = minimize_scalar(
        lambda log_t: mean_log_loss(kept * np.exp(-log_t), softened, activation),
        bounds=(np.log(LOWEST), np.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.float32(np.exp(found.x)))


def fold_of(count: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Return the fold of each of so many images, (N,); neighbors, often of one class, are dealt out.

    Args:
        count: number of images.
        groups: number of the group of every image, from 0, (N,): each is in one fold. None where every image stands for itself.
    """
    return (np.arange(count) if groups is None else groups) % FOLDS


def cross_fitted(logits: np.ndarray, targets: np.ndarray, activation: str, groups: np.ndarray | None = None) -> np.ndarray:
    """Return a temperature for every image, (N,), fitted without it and its group: on the images of the other folds."""
    fold = fold_of(len(logits), groups)
    fitted = np.ones(len(logits))
    for number in np.unique(fold):
        fitted[fold == number] = fit_temperature(logits, targets, activation, np.flatnonzero(fold != number))
    return fitted


@dataclass(frozen=True)
class Reliability:
    """Answers in bins of equal width by their probability.

    Attributes:
        counts: answers in each bin, (B,).
        confidence: mean probability in each bin, (B,); 0 in an empty one.
        accuracy: share of right answers in each bin, (B,); 0 in an empty one.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance of the two, weighted by the counts."""
        return float((self.counts * np.abs(self.confidence - self.accuracy)).sum() / max(1, self.counts.sum()))


def bin_of(probabilities: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Return the number of the bin of every probability; bins are open below and closed above, as in the paper."""
    return np.clip(np.ceil(probabilities * bins).astype(int) - 1, 0, bins - 1)


def chance_error(probabilities: np.ndarray, *, seed: int = 0, draws: int = 200, groups: np.ndarray | None = None) -> float:
    """Return the calibration error that 95 of 100 sets of well calibrated answers with these probabilities (N,) stay below.

    The answers of a group, numbers from 0, (N,), are right or wrong together.
    """
    rng, number = numpy_rng(Stream.RESAMPLE, seed, len(probabilities)), bin_of(probabilities)
    own = np.arange(len(probabilities)) if groups is None else groups
    gaps = (probabilities - (rng.random(int(own.max(initial=-1)) + 1)[own] < probabilities) for _ in range(draws))
    errors = [np.abs(np.bincount(number, weights=gap)).sum() / max(1, len(probabilities)) for gap in gaps]
    return float(np.quantile(errors, 0.95))


def measure_reliability(probabilities: np.ndarray, hits: np.ndarray, bins: int = BINS) -> Reliability:
    """Return the bins of answers given with `probabilities` (N,), of which `hits` (N,) were right."""
    number = bin_of(probabilities, bins)
    counts = np.bincount(number, minlength=bins)
    sums = (np.bincount(number, weights=values, minlength=bins) for values in (probabilities, hits.astype(float)))
    confidence, accuracy = (total / np.maximum(counts, 1) for total in sums)
    return Reliability(counts, confidence, accuracy)
