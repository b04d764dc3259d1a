"""The learning rate as a pure function of the position in the run: factor(step) of the peak rate.

A position is the number of optimizer steps already made, so a resumed run needs no history.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

from optim import SCHEDULES
from utils.errors import UserError

Schedule = Callable[[int], float]

STAGE_RATIOS = (0.1, 1.0, 0.1, 0.01, 0.001)


def build_schedule(
    name: str,
    *,
    epochs: int,
    steps_per_epoch: int,
    warmup: float,
    lr_ratios: Sequence[float] = (),
    lr_steps: Sequence[float] = (),
) -> Schedule:
    """Build the schedule `name`: a function from optimizer steps already made to the factor of the peak rate.

    A warm-up longer than half the run is cut to half the run, so that short runs learn too.

    Args:
        name: a row of SCHEDULES, or 'my_file.py:build' that takes the same keywords.
        epochs: length of the run.
        steps_per_epoch: optimizer steps, not batches, in an epoch.
        warmup: epochs of warm-up.
        lr_ratios: `steps` only: the factor of every stage.
        lr_steps: `steps` only: the epoch at which every stage ends.

    Raises:
        UserError: the numbers make no schedule; the message names the flags.
    """
    if epochs < 1:
        raise UserError(f"--epochs {epochs}: a run has at least one epoch")
    if not 0 <= warmup < math.inf:
        raise UserError(f"--warmup {warmup} is negative or no number; 0 turns the warm-up off")
    assert steps_per_epoch >= 1, "an epoch has at least one optimizer step"
    build: Callable[..., Schedule] = SCHEDULES.resolve(name)
    return build(epochs=epochs, steps_per_epoch=steps_per_epoch, warmup=warmup, lr_ratios=lr_ratios, lr_steps=lr_steps)


def warmup_epochs(warmup: float, *, epochs: int) -> float:
    """Return the warm-up that a run of this length gets: `warmup` epochs, at most half the run."""
    return min(warmup, epochs / 2)


def cosine_factor(step: int, *, warmup_steps: int, total_steps: int) -> float:
    """Return the factor of a linear warm-up followed by half a cosine (arXiv 1608.03983, without restarts).

    The warm-up climbs in equal parts and reaches one with step `warmup_steps`; the cosine falls
    to zero at `total_steps`, one step after the last of the run, and stays there.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
    return 0.5 * (1 + math.cos(math.pi * progress))


def steps_factor(step: int, *, ratios: Sequence[float], ends: Sequence[float], steps_per_epoch: int) -> float:
    """Return the ratio of the stage that `step` is in; the last ratio holds after the last end.

    Args:
        step: optimizer steps already made.
        ratios: the factor of every stage.
        ends: the epoch at which every stage ends, ascending; an end inside an epoch is honored to the step.
        steps_per_epoch: optimizer steps in an epoch.
    """
    epoch = step / steps_per_epoch
    return next((ratio for ratio, end in zip(ratios, ends, strict=True) if epoch < end), ratios[-1])


def build_cosine(*, epochs: int, steps_per_epoch: int, warmup: float, lr_ratios: Sequence[float], lr_steps: Sequence[float]) -> Schedule:
    """Build the cosine schedule over the whole run.

    Raises:
        UserError: stages were given, which belong to `steps`.
    """
    if lr_ratios or lr_steps:
        raise UserError("--lr_ratios and --lr_steps describe the stages of --schedule steps; add it, or leave them out")
    warm = warmup_epochs(warmup, epochs=epochs)
    return partial(cosine_factor, warmup_steps=int(warm * steps_per_epoch), total_steps=epochs * steps_per_epoch)


def build_steps(*, epochs: int, steps_per_epoch: int, warmup: float, lr_ratios: Sequence[float], lr_steps: Sequence[float]) -> Schedule:
    """Build the schedule in stages.

    Without stages of the user's there are five: the warm-up at a tenth of the peak rate; then,
    with s a quarter of the epochs that remain, 1.5 s at the peak rate, s at a tenth, s at a
    hundredth, and the rest at a thousandth.

    Raises:
        UserError: the stages do not fit together or not into the run.
    """
    if lr_ratios or lr_steps:
        check_stages(lr_ratios, lr_steps, epochs=epochs)
        ratios, ends = tuple(lr_ratios), tuple(lr_steps)
    else:
        warm = warmup_epochs(warmup, epochs=epochs)
        quarter = (epochs - warm) / 4
        ratios, ends = STAGE_RATIOS, (warm, warm + 1.5 * quarter, warm + 2.5 * quarter, warm + 3.5 * quarter, float(epochs))
    return partial(steps_factor, ratios=ratios, ends=ends, steps_per_epoch=steps_per_epoch)


def check_stages(ratios: Sequence[float], ends: Sequence[float], *, epochs: int) -> None:
    """Raise UserError unless the stages are as many ratios as ends, ascending, inside the run."""
    if len(ratios) != len(ends):
        raise UserError(f"--lr_ratios has {len(ratios)} values and --lr_steps {len(ends)}; give one end for each ratio")
    if not all(0 <= ratio < math.inf for ratio in ratios):
        raise UserError(f"--lr_ratios {_spaced(ratios)}: a ratio is a number that is not negative")
    if not all(before < after for before, after in zip((0, *ends), ends, strict=False)):
        raise UserError(f"--lr_steps {_spaced(ends)}: the ends of the stages must ascend from above 0")
    if ends[-1] > epochs:
        raise UserError(f"schedule longer than the run: --lr_steps ends at epoch {ends[-1]:g}, --epochs is {epochs}; raise --epochs")


def _spaced(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
