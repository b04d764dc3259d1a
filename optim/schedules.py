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
from optim.noise import RateNoise
from optim.plateau import Plateau
from optim.schedule_factors import (
    Curve,
    cosine_curve,
    curve_factor,
    falls_factor,
    onecycle_factor,
    poly_curve,
    steps_factor,
    tanh_curve,
    warm_factor,
    wave_factor,
)
from utils.errors import UserError, nearest
from utils.registry import is_user_code
from utils.spec import Spec, SpecSource, parse_specs

# Steps are whole numbers, or lie between two where the run follows a plan of another length.
Schedule = Callable[[float], float]

# Epochs of warm-up where none are asked for, in a run of at least ten times as many.
USUAL_WARMUP = 3.0
STAGE_RATIOS = (0.1, 1.0, 0.1, 0.01, 0.001)


@dataclass(frozen=True)
class RunLength:
    """The length of a run.

    Attributes:
        epochs: passes over the training images, without those of the cooldown.
        steps_per_epoch: optimizer steps, not batches, in an epoch.
        warmup: epochs of warm-up, fewer than `epochs`.
        lr_ratios: `steps` only: the factor of every stage.
        lr_steps: `steps` only: the epoch at which every stage ends.
        warmup_start: factor of the first step of the warm-up; None for a climb from nothing.
        lr: the peak rate, for arguments that are rates.
        cooldown: epochs that follow at the rate of the end.
    """

    epochs: int
    steps_per_epoch: int
    warmup: float
    lr_ratios: tuple[float, ...] = ()
    lr_steps: tuple[float, ...] = ()
    warmup_start: float | None = None
    lr: float = 1.0
    cooldown: int = 0

    @property
    def warmup_steps(self) -> int:
        return int(self.warmup * self.steps_per_epoch)

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    def __str__(self) -> str:
        return f"--epochs less --cooldown is {self.epochs}" if self.cooldown else f"--epochs is {self.epochs}"


def build_schedule(
    source: SpecSource,
    *,
    epochs: int,
    steps_per_epoch: int,
    warmup: float | None,
    lr_ratios: Sequence[float] = (),
    lr_steps: Sequence[float] = (),
    lr: float = 1.0,
    warmup_lr: float | None = None,
    cooldown: int = 0,
    noise: RateNoise | None = None,
    hold_from: int | None = None,
) -> Schedule:
    """Build a schedule: a function from optimizer steps already made to the factor of the peak rate.

    Args:
        source: the spec of a row of SCHEDULES, or of 'my_file.py:build' that takes (span, ...): a `RunLength`, and
            the arguments of the spec.
        epochs: length of the run.
        steps_per_epoch: optimizer steps, not batches, in an epoch.
        warmup: epochs of warm-up; None for 3, but at most a tenth of the run.
        lr_ratios: `steps` only: the factor of every stage.
        lr_steps: `steps` only: the epoch at which every stage ends.
        lr: the peak rate.
        warmup_lr: the rate of the first step of the warm-up; None for a climb from nothing.
        cooldown: of the epochs, how many the last rate is kept for.
        noise: shakes the rate, up to where it is held or the cooldown begins.
        hold_from: the step from which the rate stays as it is, for weights that are averaged; plateau falls on.

    Raises:
        UserError: the numbers make no schedule; the message names the flags.
    """
    if epochs < 1:
        raise UserError(f"--epochs {epochs}: a run has at least one epoch")
    if warmup is not None and not 0 <= warmup < math.inf:
        raise UserError(f"--warmup {warmup} is negative or no number; 0 turns the warm-up off")
    assert steps_per_epoch >= 1, "an epoch has at least one optimizer step"
    spec, build = _read_schedule(source)
    if (lr_ratios or lr_steps) and build is not build_steps and not is_user_code(spec.name):
        raise UserError("--lr_ratios and --lr_steps describe the stages of --schedule steps; add it, or leave them out")
    if not 0 <= cooldown < epochs:
        raise UserError(f"--cooldown {cooldown}: give fewer epochs than --epochs {epochs}; 0 turns it off")
    if cooldown and build in (build_constant, build_plateau):
        remedy = "write plateau(cooldown=N)" if build is build_plateau else "leave it out"
        raise UserError(f"--cooldown {cooldown} is not used by --schedule {spec.name}; {remedy}")
    length = epochs - cooldown
    warm = usual_warmup(length) if warmup is None else warmup
    if warm >= length and build is not build_onecycle and not is_user_code(spec.name):
        raise UserError(f"schedule longer than the run: --warmup {warm:g}, and there are {length} epochs; lower it, or leave it out")
    start = None if warmup_lr is None else _start(warmup_lr, lr, warm, unused=build in (build_steps, build_onecycle))
    span = RunLength(length, steps_per_epoch, warm, tuple(lr_ratios), tuple(lr_steps), start, lr, cooldown)
    try:
        schedule = build(span, *spec.args, **spec.kwargs)
    except TypeError as error:
        raise UserError(f"--schedule {spec}: these arguments make no schedule; write numbers with their names ({error})") from error
    return _finished(schedule, span, noise, hold_from, name=spec.name)


def _read_schedule(source: SpecSource) -> tuple[Spec, Callable[..., Schedule]]:
    """Return the spec of --schedule and what builds it, which knows all names of its arguments."""
    specs = parse_specs(source)
    if len(specs) != 1:
        raise UserError(f"--schedule {source}: a run has one schedule")
    spec = specs[0]
    build: Callable[..., Schedule] = SCHEDULES.resolve(spec.name)
    known = [item.name for item in list(inspect.signature(build).parameters.values())[1:] if item.kind is item.KEYWORD_ONLY]
    for name in spec.kwargs:
        if name not in known and not is_user_code(spec.name):
            raise UserError(f"--schedule {spec.name} has no '{name}'.{nearest(name, known)} It takes: {', '.join(known) or 'nothing'}")
    return spec, build


def usual_warmup(epochs: int) -> float:
    """Return the epochs of warm-up where none are asked for: 3, but at most a tenth of the run."""
    return min(USUAL_WARMUP, epochs / 10)


def _start(warmup_lr: float, lr: float, warmup: float, *, unused: bool) -> float:
    """Return the factor of the first step of a warm-up that begins at the rate `warmup_lr`."""
    if not 0 <= warmup_lr <= lr:
        raise UserError(f"--warmup_lr {warmup_lr:g} is outside [0, {lr:g}], from nothing to --lr")
    if unused or not warmup:
        raise UserError(f"--warmup_lr {warmup_lr:g} is not used: this schedule has no climb of --warmup epochs; leave it out")
    return warmup_lr / lr


def _finished(schedule: Schedule, span: RunLength, noise: RateNoise | None, hold_from: int | None, *, name: str) -> Schedule:
    """Return the schedule held where averaging or the cooldown begins, with noise on what comes before."""
    if span.cooldown and not schedule(span.steps) > 0:
        raise UserError(f"--cooldown {span.cooldown}: --schedule {name} ends at a rate of 0; give it an end such as {name}(floor=0.01)")
    ends = [hold_from] if hold_from is not None else []
    end = min([*ends, span.steps] if span.cooldown else ends, default=None)
    if end is not None and not isinstance(schedule, Plateau):
        schedule = partial(_held, schedule=schedule, end=end)
    if noise is None:
        return schedule
    # Apply noise only before the hold; otherwise the last random factor would stay for the rest of the run.
    shaken = partial(_noise_before, noise=noise, end=end, epochs=span.epochs + span.cooldown, steps_per_epoch=span.steps_per_epoch)
    if not isinstance(schedule, Plateau):
        return partial(_shaken, schedule=schedule, noise=shaken)
    schedule.shake(shaken)
    return schedule


def _held(step: float, *, schedule: Schedule, end: int) -> float:
    return schedule(min(step, end))


def _noise_before(step: float, *, noise: RateNoise, end: int | None, epochs: int, steps_per_epoch: int) -> float:
    return 1.0 if end is not None and step >= end else noise(step, epochs=epochs, steps_per_epoch=steps_per_epoch)


def _shaken(step: float, *, schedule: Schedule, noise: Callable[[float], float]) -> float:
    return schedule(step) * noise(step)


def build_cosine(
    span: RunLength,
    *,
    cycles: int = 1,
    decay: float = 1.0,
    k: float = 1.0,
    floor: float = 0.0,
    t_max: float | None = None,
    eta_min: float | None = None,
) -> Schedule:
    """Build the cosine schedule over the whole run, in `cycles` restarts; or torch's, which comes back as it went down.

    Args:
        span: length of the run.
        cycles: equally long restarts.
        decay: the peak of every cycle is this factor of the one before.
        k: of k-decay.
        floor: the lowest factor.
        t_max: epochs of each way down and of each way back up, as torch's CosineAnnealingLR counts them.
        eta_min: with `t_max`: the lowest rate, 0 when not given.

    Raises:
        UserError: more cycles than epochs, a number out of range, or arguments of both kinds.
    """
    if t_max is not None:
        if (cycles, decay, k, floor) != (1, 1.0, 1.0, 0.0):
            raise UserError("--schedule cosine: t_max and eta_min make a wave, without cycles, decay, k and floor; leave one kind out")
        return _wave(span, t_max, 0.0 if eta_min is None else eta_min)
    if eta_min is not None:
        raise UserError("--schedule cosine: eta_min goes with t_max; the lowest share of --lr is floor=0.01")
    if not (isinstance(cycles, int) and cycles >= 1):
        raise UserError(f"--schedule cosine: cycles={cycles} is not a number of cycles")
    if cycles > span.epochs:
        raise UserError(f"schedule longer than the run: --schedule cosine has {cycles} cycles, {span}; raise --epochs")
    _between("cosine", "decay", decay, 0, 1)
    _between("cosine", "k", k, 0, math.inf)
    _floor("cosine", floor)
    return _after_warmup(span, partial(cosine_curve, cycles=cycles, decay=decay, k=k, floor=floor))


def _wave(span: RunLength, t_max: float, eta_min: float) -> Schedule:
    _between("cosine", "t_max", t_max, 0, math.inf)
    if t_max > span.epochs:
        raise UserError(f"schedule longer than the run: --schedule cosine falls for t_max={t_max:g} epochs, {span}")
    if not 0 <= eta_min < span.lr:
        raise UserError(f"--schedule cosine: eta_min={eta_min:g} is outside [0, {span.lr:g}), from nothing to --lr")
    half = t_max * span.steps_per_epoch
    return partial(wave_factor, half=half, low=eta_min / span.lr, warmup_steps=span.warmup_steps, start=span.warmup_start)


def build_linear(span: RunLength, *, floor: float = 0.0) -> Schedule:
    """Build a straight line down over the whole run."""
    _floor("linear", floor)
    return _after_warmup(span, partial(poly_curve, power=1.0, floor=floor))


def build_poly(span: RunLength, *, power: float = 0.9, floor: float = 0.0) -> Schedule:
    """Build the polynomial schedule; 0.9 is DeepLab's power (arXiv 1606.00915)."""
    _between("poly", "power", power, 0, math.inf)
    _floor("poly", floor)
    return _after_warmup(span, partial(poly_curve, power=power, floor=floor))


def build_tanh(span: RunLength, *, lower: float = -7.0, upper: float = 3.0, floor: float = 0.0) -> Schedule:
    """Build the hyperbolic tangent schedule; -7 and 3 are close to the paper's best (arXiv 1806.01593).

    Raises:
        UserError: the bounds do not ascend.
    """
    _floor("tanh", floor)
    if not lower < upper:
        raise UserError(f"--schedule tanh: lower={lower:g} is not below upper={upper:g}")
    return _after_warmup(span, partial(tanh_curve, lower=lower, upper=upper, floor=floor))


def build_constant(span: RunLength) -> Schedule:
    """Build a warm-up to the peak, where the rate stays."""
    return partial(warm_factor, warmup_steps=span.warmup_steps, start=span.warmup_start)


def build_onecycle(span: RunLength, *, peak: float = 0.3, start: float = 0.04, end: float = 4e-6) -> Schedule:
    """Build the one-cycle schedule over the whole run; its climb takes the place of --warmup."""
    _between("onecycle", "peak", peak, 0, 1)
    _between("onecycle", "start", start, 0, 1)
    _between("onecycle", "end", end, 0, 1)
    return partial(onecycle_factor, total_steps=span.steps, peak=peak, start=start, end=end)


def build_step(span: RunLength, *, every: float | None = None, gamma: float = 0.1) -> Schedule:
    """Build a staircase: times `gamma` after every `every` epochs.

    Without `every` there are two falls, at one and two thirds of what follows the warm-up.

    Raises:
        UserError: the first fall is not inside the run.
    """
    _between("step", "gamma", gamma, 0, 1)
    if every is None:
        return _falling(span, _parts(span, 1 / 3, 2 / 3), gamma)
    if not every > 0:
        raise UserError(f"--schedule step: every={every:g} is not a number of epochs")
    if every >= span.epochs:
        raise UserError(f"schedule longer than the run: --schedule step falls at epoch {every:g}, {span}")
    falls = [every * count for count in range(1, math.ceil(span.epochs / every))]
    return _falling(span, falls, gamma)


def build_multistep(span: RunLength, *falls: float, gamma: float = 0.1) -> Schedule:
    """Build falls by `gamma` at the given epochs; without any, at a half and three quarters of what follows the warm-up.

    Raises:
        UserError: the epochs do not ascend, or not inside the run.
    """
    _between("multistep", "gamma", gamma, 0, 1)
    falls = falls or _parts(span, 1 / 2, 3 / 4)
    if not all(before < after for before, after in zip((0, *falls), falls, strict=False)):
        raise UserError(f"--schedule multistep({_spaced(falls)}): the epochs must ascend from above 0")
    if falls[-1] >= span.epochs:
        raise UserError(f"schedule longer than the run: --schedule multistep falls at epoch {falls[-1]:g}, {span}")
    return _falling(span, falls, gamma)


def build_plateau(
    span: RunLength,
    *,
    metric: str = "loss",
    mode: str = "auto",
    factor: float = 0.1,
    patience: int | None = None,
    cooldown: int = 0,
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
        cooldown: epochs after a fall in which nothing is counted.
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
        raise UserError(f"schedule longer than the run: --schedule plateau waits for patience={patience} epochs, {span}")
    if not (isinstance(cooldown, int) and cooldown >= 0):
        raise UserError(f"--schedule plateau: cooldown={cooldown} is not a number of epochs")
    lower = mode == "min" or (mode == "auto" and metric.endswith("loss"))
    base = build_constant(span)
    numbers = {"factor": factor, "patience": patience, "cooldown": cooldown, "threshold": threshold, "floor": floor}
    return Plateau(base, metric=metric, lower_is_better=lower, **numbers)


def build_steps(span: RunLength) -> Schedule:
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


def _after_warmup(span: RunLength, curve: Curve) -> Schedule:
    return partial(curve_factor, warmup_steps=span.warmup_steps, total_steps=span.steps, curve=curve, start=span.warmup_start)


def _parts(span: RunLength, *shares: float) -> tuple[float, ...]:
    """Return the epochs at these shares of what follows the warm-up."""
    return tuple(span.warmup + (span.epochs - span.warmup) * share for share in shares)


def _falling(span: RunLength, falls: Sequence[float], gamma: float) -> Schedule:
    warm = {"warmup_steps": span.warmup_steps, "start": span.warmup_start}
    return partial(falls_factor, falls=tuple(falls), gamma=gamma, steps_per_epoch=span.steps_per_epoch, **warm)


def _between(schedule: str, name: str, value: Any, low: float, high: float) -> None:
    if not low < value <= high or value == math.inf:
        limit = "above 0" if high == math.inf else f"above {low:g}, up to {high:g}"
        raise UserError(f"--schedule {schedule}: {name}={value:g} is out of range; give a number {limit}")


def _floor(schedule: str, value: float) -> None:
    if not 0 <= value < 1:
        raise UserError(f"--schedule {schedule}: floor={value:g} is outside [0, 1), the share of the peak rate that is left at the end")
