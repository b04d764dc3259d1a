"""The formulas of the schedules: factors of the peak rate at a step, or at a share of the run."""

import math
from collections.abc import Callable, Sequence

Curve = Callable[[float], float]


def warm_factor(step: float, *, warmup_steps: int, start: float | None = None) -> float:
    """Return the factor of a warm-up that climbs in equal parts and reaches one with step `warmup_steps`.

    Args:
        step: optimizer steps already made.
        warmup_steps: of the warm-up.
        start: factor of the first step; None for one part, as if the step before it were at zero.
    """
    if step >= warmup_steps:
        return 1.0
    if start is None:
        return (step + 1) / (warmup_steps + 1)
    return start + (1 - start) * step / warmup_steps


def curve_factor(step: float, *, warmup_steps: int, total_steps: int, curve: Curve, start: float | None = None) -> float:
    """Return the factor of a linear warm-up followed by `curve`.

    Args:
        step: optimizer steps already made.
        warmup_steps: steps of the warm-up; the next one is made at the peak.
        total_steps: steps of the run.
        curve: share of the run after the warm-up, from 0 at the peak to 1 one step after the last -> factor.
        start: factor of the first step of the warm-up.
    """
    if step < warmup_steps:
        return warm_factor(step, warmup_steps=warmup_steps, start=start)
    return curve(min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0))


def cosine_curve(share: float, *, cycles: int = 1, decay: float = 1.0, k: float = 1.0, floor: float = 0.0) -> float:
    """Return half a cosine from one to `floor`, `cycles` times (arXiv 1608.03983); k-decay (arXiv 2004.05909) bends it.

    Args:
        share: of the way, in [0, 1].
        cycles: equally long restarts.
        decay: the peak of every cycle is this factor of the one before.
        k: above one, the rate stays high for longer.
        floor: the lowest factor.
    """
    cycle = min(int(share * cycles), cycles - 1)
    progress = share * cycles - cycle
    return floor + (max(decay**cycle, floor) - floor) * 0.5 * (1 + math.cos(math.pi * progress**k))


def wave_factor(step: float, *, half: float, low: float, warmup_steps: int, start: float | None = None) -> float:
    """Return a cosine from one to `low` in `half` steps, back to one in as many, and so on, behind a warm-up."""
    if step < warmup_steps:
        return warm_factor(step, warmup_steps=warmup_steps, start=start)
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / half))


def poly_curve(share: float, *, power: float, floor: float = 0.0) -> float:
    """Return (1 - share) ^ power, from one to `floor`; power one is a line."""
    return floor + (1 - floor) * (1 - share) ** power


def tanh_curve(share: float, *, lower: float, upper: float, floor: float = 0.0) -> float:
    """Return the falling half of tanh between `lower` and `upper` (arXiv 1806.01593), from about one to about `floor`."""
    return floor + (1 - floor) * 0.5 * (1 - math.tanh(lower + (upper - lower) * share))


def onecycle_factor(step: float, *, total_steps: int, peak: float, start: float, end: float) -> float:
    """Return a cosine climb from `start` to one at the share `peak` of the run, then a cosine fall to `end` (arXiv 1708.07120)."""
    top = peak * (total_steps - 1)
    if step < top:
        return one_to(start, 1 - step / top)
    return one_to(end, min((step - top) / max(total_steps - 1 - top, 1e-9), 1.0))


def one_to(end: float, share: float) -> float:
    """Return half a cosine from one, at share 0, to `end`, at share 1."""
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * share))


def steps_factor(step: float, *, ratios: Sequence[float], ends: Sequence[float], steps_per_epoch: int) -> float:
    """Return the ratio of the stage that `step` is in; the last ratio holds after the last end.

    Args:
        step: optimizer steps already made.
        ratios: the factor of every stage.
        ends: the epoch at which every stage ends, ascending; an end inside an epoch is honored to the step.
        steps_per_epoch: optimizer steps in an epoch.
    """
    epoch = step / steps_per_epoch
    return next((ratio for ratio, end in zip(ratios, ends, strict=True) if epoch < end), ratios[-1])


def falls_factor(
    step: float, *, falls: Sequence[float], gamma: float, warmup_steps: int, steps_per_epoch: int, start: float | None = None
) -> float:
    """Return gamma ^ (falls passed), behind a warm-up; a fall is an epoch."""
    epoch = step / steps_per_epoch
    return warm_factor(step, warmup_steps=warmup_steps, start=start) * gamma ** sum(epoch >= fall for fall in falls)
