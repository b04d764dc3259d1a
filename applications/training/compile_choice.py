"""--compile auto: compiles the steps of a run that is long enough to pay for it, by what both kinds of steps take on this machine."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from applications.training.planning import Trial
from applications.training.training_parts import TrainingParts
from dataloader.loading.size_schedule import parse_sizes
from models.compiled import compile_training
from utils.errors import UserError
from utils.logs import log
from utils.timing import in_words

# What compiling usually saves of a run, and takes for one size of images: a run that could not save as much twice is not tried.
USUAL_SHARE, USUAL_SECONDS = 0.15, 60.0
# Of steps that are timed.
SECONDS = 4.0


@dataclass(frozen=True)
class CompileTimes:
    """What an image of a training step takes, in seconds, and what compiling took."""

    plain: float
    compiled: float
    compiling: float

    def saved(self, run: float, sizes: int) -> float:
        """Return the seconds that compiling saves in a run of so many seconds; the first of its sizes is kept on disk by the trial."""
        return (1 - self.compiled / self.plain) * run - (sizes - 1) * self.compiling


def worth_trying(run: float, sizes: int) -> bool:
    """Whether a run of so many seconds at so many sizes of images can be expected to save what compiling takes, twice over."""
    return USUAL_SHARE * run >= 2 * USUAL_SECONDS * sizes


def with_compile_choice(parts: TrainingParts) -> TrainingParts:
    """Return the parts with --compile auto replaced by on or off, and say why."""
    if parts.config.runtime.compile != "auto":
        return parts
    chosen, why = _choice(parts)
    # All processes compile, or none.
    chosen, why = parts.machine.world.gather((chosen, why))[0]
    log().info(f"compile   {chosen}: {why}")
    return replace(parts, config=parts.config.override({"compile": chosen}))


def _choice(parts: TrainingParts) -> tuple[str, str]:
    config = parts.config
    data, epochs = config.data, config.train.epochs
    sizes = len(parse_sizes(data.size_schedule or str(data.image_size[1]), data.image_size, epochs).all())
    images = epochs * (data.epoch_size or parts.train_loader.plan.samples) / parts.machine.world.size
    if config.train.minutes is not None and not worth_trying(60 * config.train.minutes, sizes):
        return _too_short(60 * config.train.minutes, sizes)
    trial = Trial(replace(parts, config=config.override({"size_schedule": None, "cache": "off"})))
    try:
        plain = _per_image(trial)
        run = plain * images
        if not worth_trying(run, sizes):
            return _too_short(run, sizes)
        found = _tried(lambda: compile_training(trial.parts.teaching.network), lambda: _per_image(trial), plain)
    finally:
        trial.close()
    if isinstance(found, str):
        return "off", found
    saved, share = found.saved(run, sizes), 1 - found.compiled / found.plain
    steps = f"steps take {share:.0%} less" if share > 0 else f"steps take {-share:.0%} more"
    took = f"{steps} once compiled, which took {in_words(found.compiling)}"
    if saved <= 0:
        return "off", f"{took}; of about {in_words(run)} nothing would be saved"
    return "on", f"{took}; saves about {in_words(saved)} of {in_words(run)}"


def _too_short(run: float, sizes: int) -> tuple[str, str]:
    at_sizes = f"{sizes} sizes of images take" if sizes > 1 else "takes"
    return "off", f"training takes about {in_words(run)}, and compiling {at_sizes} about {in_words(USUAL_SECONDS * sizes)}"


def _tried(compile_it: Callable[[], object], measure: Callable[[], float], plain: float) -> CompileTimes | str:
    """Return what compiled steps take, or why there are none: a compiler that is missing or fails must not end a run."""
    begun = time.perf_counter()
    try:
        compile_it()
        compiled = measure()
    except UserError as error:
        return str(error)
    except Exception as error:
        return f"compiling failed ({type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error).strip() else ''})"
    return CompileTimes(plain, compiled, max(0.0, time.perf_counter() - begun - SECONDS))


def _per_image(trial: Trial) -> float:
    """Return the seconds of an image; the first steps, in which code is compiled, are not counted."""
    (seconds,) = trial.training(SECONDS).values()
    return seconds
