"""Bounds for a share of things that come several to an image, such as objects: those of one image may fail together.

An image is one piece of evidence, however many things it shows, and counts by their number. The test is that of Waudby-Smith and Ramdas:
Estimating means of bounded random variables by betting (arXiv 2010.09686): a fortune that grows with images better than the limit, and
shrinks with worse ones, becomes 1 / risk with a probability of at most the risk when the share is the limit or above. It needs nothing of
how the things of an image depend on one another. For one thing an image it is Chernoff's bound for a share.
"""

import math

import numpy as np

# An image counts by its things, but for no more than so many times the mean number: else one crowd would outweigh all others.
MOST_TIMES = 4.0
# Bets beside the one that is best for as many failures as can just be allowed: parts of the way to the highest.
BETS = (1 / 3, 2 / 3, 1.0)


def weights_of(counts: np.ndarray) -> np.ndarray:
    """Return how much each image counts, in (0, 1], (N,): by its number of things, one or more."""
    most = min(float(counts.max(initial=1)), max(1.0, MOST_TIMES * float(counts.mean()))) if len(counts) else 1.0
    return np.minimum(counts, most) / most


def evidence(failures: np.ndarray, counts: np.ndarray, limit: float, risk: float) -> float:
    """Return the logarithm of the fortune, which proves the limit when it is log(1 / risk) or more; it falls with every failure.

    Args:
        failures: how many things of each image fail, (N,).
        counts: how many there are in each, one or more, (N,).
        limit: largest share of things that fail, in (0, 1).
        risk: of proving a limit that is passed.
    """
    if not len(counts):
        return 0.0
    # In [-1, 1 / limit - 1] x limit: on average 0 or less, when the share is the limit or above.
    better = weights_of(counts) * (limit - failures / counts)
    highest = 1 / (1 - limit)
    usual = highest * (1 - _allowed(len(counts), limit, risk) / limit)
    bets = np.array([usual, *(usual + part * (highest - usual) for part in BETS)])
    with np.errstate(divide="ignore"):
        fortunes = np.log(np.maximum(1 + bets[:, None] * better, 0)).sum(1)
    shares = np.log([0.5, *([0.5 / len(BETS)] * len(BETS))])
    return float(np.logaddexp.reduce(fortunes + shares))


def proves(failures: np.ndarray, counts: np.ndarray, limit: float, risk: float) -> bool:
    """Whether these failures prove the limit, but for the risk."""
    # A hair for rounding, as where no image fails and as few are given as can suffice.
    return evidence(failures, counts, limit, risk) >= math.log(1 / risk) - 1e-9


def _allowed(count: int, limit: float, risk: float) -> float:
    """Return the share of failures, in [0, limit], at which so many images just prove the limit by Chernoff's bound; 0 where none do."""
    low, high = 0.0, limit
    for _ in range(60):
        middle = (low + high) / 2
        apart = middle * math.log(middle / limit) + (1 - middle) * math.log((1 - middle) / (1 - limit)) if middle > 0 else 0.0
        low, high = (middle, high) if count * apart >= math.log(1 / risk) else (low, middle)
    return low
