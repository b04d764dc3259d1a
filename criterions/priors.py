"""What follows from how often each class occurs: class weights, logit adjustment, the classifier's first bias."""

from collections.abc import Sequence

import numpy as np

from criterions.matrix import read_weights
from utils.errors import UserError

BETA = 0.999


def inverse_frequency(counts: Sequence[float]) -> np.ndarray:
    """Return weights (C,) in inverse proportion to the counts, with mean 1 over the classes."""
    weights = 1 / _at_least_one(counts)
    return weights / weights.mean()


def inverse_root(counts: Sequence[float]) -> np.ndarray:
    """Return weights (C,) in inverse proportion to the square roots of the counts, with mean 1 over the classes.

    Halfway, in logarithms, between no weights and the inverse frequency.
    """
    weights = _at_least_one(counts) ** -0.5
    return weights / weights.mean()


def effective_number(counts: Sequence[float], beta: float = BETA) -> np.ndarray:
    """Return weights (C,) in proportion to (1 - beta) / (1 - beta^n), with mean 1 over the classes.

    Cui et al.: Class-Balanced Loss Based on Effective Number of Samples (arXiv 1901.05555).

    Args:
        counts: images of every class.
        beta: in [0, 1); 0 weighs all classes alike, towards 1 it becomes the inverse frequency.
    """
    if not 0 <= beta < 1:
        raise UserError(f"--class_weights effective: beta {beta} is outside [0, 1); 0.99, 0.999 and 0.9999 are common choices")
    weights = (1 - beta) / (1 - beta ** _at_least_one(counts))
    return weights / weights.mean()


def class_weights(rule: str, *, classes: Sequence[str], counts: Sequence[float], beta: float = BETA) -> np.ndarray:
    """Return one weight a class, (C,).

    Args:
        rule: 'auto' (inverse frequency), 'sqrt' (its root), 'effective' (effective number), or a CSV file of class,weight rows.
        classes: names.
        counts: training images of every class.
        beta: of 'effective'.

    Raises:
        UserError: the file does not fit the classes, or beta is out of range.
    """
    if rule == "auto":
        return inverse_frequency(counts)
    if rule == "sqrt":
        return inverse_root(counts)
    if rule == "effective":
        return effective_number(counts, beta)
    return read_weights(rule, classes)


def mean_weight(weights: np.ndarray, shares: Sequence[float]) -> float:
    """Return the mean weight of images, each of which weighs the mean over its labels; 1 where only classes without images weigh.

    Args:
        weights: (C,).
        shares: images of every class; one with several labels is an equal part of an image for each.
    """
    images = np.asarray(shares, dtype=np.float64)
    total = float(weights @ images)
    return total / float(images.sum()) if total > 0 else 1.0


def log_prior(counts: Sequence[float]) -> np.ndarray:
    """Return the logarithm of every class's share of the images, (C,); a class without images counts as one image."""
    images = _at_least_one(counts)
    return np.log(images / images.sum())


def prior_logits(probabilities: Sequence[float] | np.ndarray, activation: str) -> np.ndarray:
    """Return the logits (C,) at which every class has its probability before anything is learned.

    Lin et al. (arXiv 1708.02002, section 3.3) and Chen et al.: Is Sampling Heuristics Necessary in
    Training Deep Object Detectors? (arXiv 1909.04868) start a classifier's bias there.

    Args:
        probabilities: (C,), each in (0, 1); for softmax their sum is taken as 1.
        activation: 'softmax' or 'sigmoid'.

    Raises:
        UserError: a probability is outside (0, 1).
    """
    shares = np.asarray(probabilities, dtype=np.float64)
    if activation == "softmax":
        shares = shares / shares.sum()
        # A data set of one class has probability one, whose logarithm is still finite.
        inside = (shares > 0) & (shares <= 1)
    else:
        inside = (shares > 0) & (shares < 1)
    if not inside.all():
        raise UserError(f"--prior_bias: the probability {shares[~inside][0]:g} has no logit; write probabilities between 0 and 1")
    return np.log(shares) if activation == "softmax" else np.log(shares) - np.log1p(-shares)


def first_probabilities(wish: str, *, classes: Sequence[str], counts: Sequence[float], images: float | None = None) -> np.ndarray:
    """Return the probabilities (C,) that --prior_bias asks for.

    Args:
        wish: 'data' (each class's share of the images), a number (for every class), or a CSV file of class,weight rows.
        classes: names.
        counts: training images of every class.
        images: training images; the sum of the counts unless an image has several labels.

    Raises:
        UserError: the number is outside (0, 1), or the file does not fit the classes.
    """
    if wish == "data":
        found = _at_least_one(counts)
        # Without this a class that every image has would have the logit of certainty.
        return np.minimum(found / (images or found.sum()), 1 - 1e-6)
    try:
        number = float(wish)
    except ValueError:
        return read_weights(wish, classes, flag="--prior_bias")
    return np.full(len(classes), number)


def _at_least_one(counts: Sequence[float]) -> np.ndarray:
    return np.maximum(np.asarray(counts, dtype=np.float64), 1)
