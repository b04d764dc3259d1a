"""Figures of labels from probabilities, for images that are counted any number of times: what intervals and comparisons resample."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from torch import Tensor

from applications.tasks.classify import FEWEST_FOR_TOP5
from applications.tasks.label_prediction import row_chunks
from utils.metrics.calibration import bin_of
from utils.metrics.statistics import falling, weighted_average_precision

# How often each image is counted, int (N,) -> metrics, name -> value.
CountedMetrics = Callable[[np.ndarray], dict[str, float]]


class Top(NamedTuple):
    """The most probable class of each image, int (N,), and its probability, (N,)."""

    found: np.ndarray
    confidence: np.ndarray


def top_of(probabilities: Tensor) -> Top:
    """Return the most probable classes, for (N, C)."""
    return Top(probabilities.argmax(1).numpy(), probabilities.amax(1).numpy())


def single_label_metrics(targets: np.ndarray, probabilities: np.ndarray, losses: np.ndarray, scaled: Top) -> CountedMetrics:
    """Return a function: how often each image is counted, int (N,) -> headline metrics. The bootstrap calls it.

    Args:
        targets: class indices (N,).
        probabilities: (N, C).
        losses: (N,).
        scaled: the answers by which the calibration error is measured.
    """
    # Computed once, since resampling does not change it.
    classes = probabilities.shape[1]
    found, confidence = probabilities.argmax(1), scaled.confidence
    right, gaps = found == targets, confidence - (scaled.found == targets)
    bins = bin_of(confidence)
    among = among_best(targets, probabilities) if classes >= FEWEST_FOR_TOP5 else None

    def of(counts: np.ndarray) -> dict[str, float]:
        total = max(1, counts.sum())
        hits = np.bincount(targets, weights=counts * right, minlength=classes)
        true, answered = (np.bincount(each, weights=counts, minlength=classes) for each in (targets, found))
        f1 = 2 * hits / np.maximum(true + answered, 1)
        shown = {"top1": hits.sum() / total} | ({} if among is None else {"top5": counts @ among / total})
        shown |= {
            "macro F1": f1[true > 0].mean() if (true > 0).any() else 0.0,
            "loss": counts @ losses / total,
            "calibration error": np.abs(np.bincount(bins, weights=counts * gaps)).sum() / total,
        }
        return {name: float(value) for name, value in shown.items()}

    return of


def among_best(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return whether the class (N,) of each image is among the five most probable of (N, C)."""
    parts = ((np.argpartition(-probabilities[rows], 5, axis=1)[:, :5] == targets[rows, None]).any(1) for rows in row_chunks(probabilities))
    return np.concatenate(list(parts))


def multi_label_metrics(probabilities: np.ndarray, truth: np.ndarray, named: np.ndarray, losses: np.ndarray) -> CountedMetrics:
    """Return a function: how often each image is counted, int (N,) -> headline metrics. The bootstrap calls it.

    Args:
        probabilities: (N, C).
        truth, named: bool (N, C).
        losses: (N,).
    """
    # Computed once, since resampling does not change it.
    order, last = falling(probabilities)
    both, exact = truth & named, (truth == named).all(1)

    def of(counts: np.ndarray) -> dict[str, float]:
        averages = weighted_average_precision(order, last, truth, counts)
        occurs = ~np.isnan(averages)
        hits, said, real = (counts @ each for each in (both, named, truth))
        f1 = 2 * hits / np.maximum(said + real, 1)
        total = max(1, counts.sum())
        shown = {
            "mAP": averages[occurs].mean() if occurs.any() else 0.0,
            "micro F1": 2 * hits.sum() / max(1, (said + real).sum()),
            "macro F1": f1[occurs].mean() if occurs.any() else 0.0,
            "all labels right": counts @ exact / total,
            "loss": counts @ losses / total,
        }
        return {name: float(value) for name, value in shown.items()}

    return of
