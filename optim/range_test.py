"""Learning-rate range test: raise the rate a little every step and watch the loss (arXiv 1506.01186)."""

from collections.abc import Sequence

import numpy as np

from utils.errors import UserError

# The loss of a batch is noisy; this much of the average is kept every step.
SMOOTHING = 0.9
# The test is over when the smoothed loss has risen to this multiple of its best.
DIVERGED = 4.0
# Rates before this share of the test have a smoothed loss that knows too little.
SETTLED = 0.1


def exponential_rates(low: float, high: float, steps: int) -> list[float]:
    """Return `steps` rates from `low` to `high`, each the same factor above the one before.

    Raises:
        UserError: the range is empty or not positive.
    """
    if not 0 < low < high < float("inf"):
        raise UserError(f"--lr_range {low:g} {high:g}: give two positive rates, the low one first, such as 1e-6 10")
    return [low * (high / low) ** (step / (steps - 1)) for step in range(steps)]


def smoothed(losses: Sequence[float], keep: float = SMOOTHING) -> list[float]:
    """Return the exponential moving average of the losses, corrected for its start at zero."""
    average, found = 0.0, []
    for count, loss in enumerate(losses, start=1):
        average = keep * average + (1 - keep) * loss
        found.append(average / (1 - keep**count))
    return found


def has_diverged(losses: Sequence[float]) -> bool:
    """Whether a range test need not go on: the last loss is not finite, or the average has left its best far below."""
    if not np.isfinite(losses[-1]):
        return True
    averages = smoothed(losses)
    return averages[-1] > DIVERGED * min(averages)


def suggest_rate(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Return the rate at which the smoothed loss falls fastest, or None when it falls nowhere.

    Rates above that of the lowest loss are not considered: what comes after is on its way up.
    """
    finite = [loss for loss in losses if np.isfinite(loss)]
    if len(finite) < 3:
        return None
    averages = np.asarray(smoothed(finite))
    slopes = np.gradient(averages, np.log(rates[: len(finite)]))
    first = int(SETTLED * len(finite))
    last = int(averages.argmin()) + 1
    if last - first < 2:
        return None
    steepest = first + int(slopes[first:last].argmin())
    return float(rates[steepest]) if slopes[steepest] < 0 else None
