"""The learning rate as a pure function of the position in the run: factor(step) of the peak rate.

A position is the number of optimizer steps already made, so a resumed run needs no history; plateau
alone has one. A schedule is a spec: cosine, cosine(cycles=3), multistep(30,60,gamma=0.2).
"""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from optim import SCHEDULES
from optim.curves import (
    Curve,
    cosine_curve,
    curve_factor,
    falls_factor,
    onecycle_factor,
    poly_curve,
    steps_factor,
    tanh_curve,
    warm_factor,
)
from optim.plateau import Plateau
from utils.errors import UserError, nearest
from utils.registry import is_user_target
from utils.spec import SpecSource, parse_specs

Schedule = Callable[[int], float]

STAGE_RATIOS = (0.1, 1.0, 0.1, 0.01, 0.001)


@dataclass(frozen=True)
class Span:
    """The length of a run.

    Attributes:
        epochs: passes over the training images.
        steps_per_epoch: optimizer steps, not batches, in an epoch.
        warmup: epochs of warm-up, at most half the run.
        lr_ratios: `steps` only: the factor of every stage.
        lr_steps: `steps` only: the epoch at which every stage ends.
    """

    epochs: int
    steps_per_epoch: int
    warmup: float
    lr_ratios: tuple[float, ...] = ()
    lr_steps: tuple[float, ...] = ()

    @property
    def warmup_steps(self) -> int:
        return int(self.warmup * self.steps_per_epoch)

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch


def build_schedule(
    source: SpecSource,
    *,
    epochs: int,
    steps_per_epoch: int,
    warmup: float,
    lr_ratios: Sequence[float] = (),
    lr_steps: Sequence[float] = (),
) -> Schedule:
    """Build a schedule: a function from optimizer steps already made to the factor of the peak rate.

    A warm-up longer than half the run is cut to half the run, so that short runs learn too.

    Args:
        source: the spec of a row of SCHEDULES, or of 'my_file.py:build' that takes (span, ...): a `Span`, and
            the arguments of the spec.
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
    specs = parse_specs(source)
    if len(specs) != 1:
        raise UserError(f"--schedule {source}: a run has one schedule")
    spec = specs[0]
    build: Callable[..., Schedule] = SCHEDULES.resolve(spec.name)
    if (lr_ratios or lr_steps) and build is not build_steps and not is_user_target(spec.name):
        raise UserError("--lr_ratios and --lr_steps describe the stages of --schedule steps; add it, or leave them out")
    known = [item.name for item in list(inspect.signature(build).parameters.values())[1:] if item.kind is item.KEYWORD_ONLY]
    for name in spec.kwargs:
        if name not in known and not is_user_target(spec.name):
            raise UserError(f"--schedule {spec.name} has no '{name}'.{nearest(name, known)} It takes: {', '.join(known) or 'nothing'}")
    span = Span(epochs, steps_per_epoch, warmup_epochs(warmup, epochs=epochs), tuple(lr_ratios), tuple(lr_steps))
    try:
        return build(span, *spec.args, **spec.kwargs)
    except TypeError as error:
        raise UserError(f"--schedule {spec}: these arguments make no schedule; write numbers with their names ({error})") from error


def warmup_epochs(warmup: float, *, epochs: int) -> float:
    """Return the warm-up that a run of this length gets: `warmup` epochs, at most half the run."""
    return min(warmup, epochs / 2)


def build_cosine(span: Span, *, cycles: int = 1, decay: float = 1.0, k: float = 1.0, floor: float = 0.0) -> Schedule:
    """Build the cosine schedule over the whole run, in `cycles` restarts.

    Raises:
        UserError: more cycles than epochs, or a number out of range.
    """
    if not (isinstance(cycles, int) and cycles >= 1):
        raise UserError(f"--schedule cosine: cycles={cycles} is no number of cycles")
    if cycles > span.epochs:
        raise UserError(f"schedule longer than the run: --schedule cosine has {cycles} cycles, --epochs is {span.epochs}; raise --epochs")
    _between("cosine", "decay", decay, 0, 1)
    _between("cosine", "k", k, 0, math.inf)
    _floor("cosine", floor)
    return _after_warmup(span, partial(cosine_curve, cycles=cycles, decay=decay, k=k, floor=floor))


def build_linear(span: Span, *, floor: float = 0.0) -> Schedule:
    """Build a straight line down over the whole run."""
    _floor("linear", floor)
    return _after_warmup(span, partial(poly_curve, power=1.0, floor=floor))


def build_poly(span: Span, *, power: float = 0.9, floor: float = 0.0) -> Schedule:
    """Build the polynomial schedule; 0.9 is DeepLab's power (arXiv 1606.00915)."""
    _between("poly", "power", power, 0, math.inf)
    _floor("poly", floor)
    return _after_warmup(span, partial(poly_curve, power=power, floor=floor))


def build_tanh(span: Span, *, lower: float = -7.0, upper: float = 3.0, floor: float = 0.0) -> Schedule:
    """Build the hyperbolic tangent schedule; -7 and 3 are close to the paper's best (arXiv 1806.01593).

    Raises:
        UserError: the bounds do not ascend.
    """
    _floor("tanh", floor)
    if not lower < upper:
        raise UserError(f"--schedule tanh: lower={lower:g} is not below upper={upper:g}")
    return _after_warmup(span, partial(tanh_curve, lower=lower, upper=upper, floor=floor))


def build_constant(span: Span) -> Schedule:
    """Build a warm-up to the peak, where the rate stays."""
    return partial(warm_factor, warmup_steps=span.warmup_steps)


def build_onecycle(span: Span, *, peak: float = 0.3, start: float = 0.04, end: float = 4e-6) -> Schedule:
    """Build the one-cycle schedule over the whole run; its climb takes the place of --warmup."""
    _between("onecycle", "peak", peak, 0, 1)
    _between("onecycle", "start", start, 0, 1)
    _between("onecycle", "end", end, 0, 1)
    return partial(onecycle_factor, total_steps=span.steps, peak=peak, start=start, end=end)


def build_step(span: Span, *, every: float | None = None, gamma: float = 0.1) -> Schedule:
    """Build a staircase: times `gamma` after every `every` epochs.

    Without `every` there are two falls, at one and two thirds of what follows the warm-up.

    Raises:
        UserError: the first fall is not inside the run.
    """
    _between("step", "gamma", gamma, 0, 1)
    if every is None:
        return _falling(span, _parts(span, 1 / 3, 2 / 3), gamma)
    if not every > 0:
        raise UserError(f"--schedule step: every={every:g} is no number of epochs")
    if every >= span.epochs:
        raise UserError(f"schedule longer than the run: --schedule step falls at epoch {every:g}, --epochs is {span.epochs}")
    falls = [every * count for count in range(1, math.ceil(span.epochs / every))]
    return _falling(span, falls, gamma)


def build_multistep(span: Span, *falls: float, gamma: float = 0.1) -> Schedule:
    """Build falls by `gamma` at the given epochs; without any, at a half and three quarters of what follows the warm-up.

    Raises:
        UserError: the epochs do not ascend, or not inside the run.
    """
    _between("multistep", "gamma", gamma, 0, 1)
    falls = falls or _parts(span, 1 / 2, 3 / 4)
    if not all(before < after for before, after in zip((0, *falls), falls, strict=False)):
        raise UserError(f"--schedule multistep({_spaced(falls)}): the epochs must ascend from above 0")
    if falls[-1] >= span.epochs:
        raise UserError(f"schedule longer than the run: --schedule multistep falls at epoch {falls[-1]:g}, --epochs is {span.epochs}")
    return _falling(span, falls, gamma)


def build_plateau(
    span: Span,
    *,
    metric: str = "loss",
    mode: str = "auto",
    factor: float = 0.1,
    patience: int | None = None,
    threshold: float = 1e-4,
    floor: float = 0.0,
) -> Schedule:
    """Build a constant rate that falls by `factor` when validation has not improved for `patience` epochs.

    Args:
        span: length of the run.
        metric: the figure of validation to watch: loss, top1, ...
        mode: min or max, which way it improves; auto takes min for a loss and max for anything else.
        factor: of the fall.
        patience: epochs without improvement that are waited for; 3 when not given, fewer in a shorter run.
        threshold: smallest change that counts.
        floor: smallest factor.

    Raises:
        UserError: a value out of range.
    """
    if mode not in ("auto", "min", "max"):
        raise UserError(f"--schedule plateau: mode={mode} is none of auto, min, max")
    _between("plateau", "factor", factor, 0, 1)
    _floor("plateau", floor)
    patience = min(3, span.epochs - 1) if patience is None else patience
    if not (isinstance(patience, int) and 0 <= patience < span.epochs):
        raise UserError(f"schedule longer than the run: --schedule plateau waits for patience={patience} epochs, --epochs is {span.epochs}")
    lower = mode == "min" or (mode == "auto" and metric.endswith("loss"))
    base = build_constant(span)
    return Plateau(base, metric=metric, lower_is_better=lower, factor=factor, patience=patience, threshold=threshold, floor=floor)


def build_steps(span: Span) -> Schedule:
    """Build the schedule in stages.

    Without stages of the user's there are five: the warm-up at a tenth of the peak rate; then,
    with s a quarter of the epochs that remain, 1.5 s at the peak rate, s at a tenth, s at a
    hundredth, and the rest at a thousandth.

    Raises:
        UserError: the stages do not fit together or not into the run.
    """
    if span.lr_ratios or span.lr_steps:
        check_stages(span.lr_ratios, span.lr_steps, epochs=span.epochs)
        ratios, ends = span.lr_ratios, span.lr_steps
    else:
        warm = span.warmup
        quarter = (span.epochs - warm) / 4
        ratios, ends = STAGE_RATIOS, (warm, warm + 1.5 * quarter, warm + 2.5 * quarter, warm + 3.5 * quarter, float(span.epochs))
    return partial(steps_factor, ratios=ratios, ends=ends, steps_per_epoch=span.steps_per_epoch)


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


def _after_warmup(span: Span, curve: Curve) -> Schedule:
    return partial(curve_factor, warmup_steps=span.warmup_steps, total_steps=span.steps, curve=curve)


def _parts(span: Span, *shares: float) -> tuple[float, ...]:
    """Return the epochs at these shares of what follows the warm-up."""
    return tuple(span.warmup + (span.epochs - span.warmup) * share for share in shares)


def _falling(span: Span, falls: Sequence[float], gamma: float) -> Schedule:
    return partial(falls_factor, falls=tuple(falls), gamma=gamma, warmup_steps=span.warmup_steps, steps_per_epoch=span.steps_per_epoch)


def _between(schedule: str, name: str, value: Any, low: float, high: float) -> None:
    if not low < value <= high or value == math.inf:
        limit = "above 0" if high == math.inf else f"above {low:g}, up to {high:g}"
        raise UserError(f"--schedule {schedule}: {name}={value:g} is out of range; give a number {limit}")


def _floor(schedule: str, value: float) -> None:
    if not 0 <= value < 1:
        raise UserError(f"--schedule {schedule}: floor={value:g} is outside [0, 1), the share of the peak rate that is left at the end")
