"""The training loop."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from shlex import quote

import torch
from torch import Tensor, nn

from applications.contract import Objective, Task, Transform
from applications.engine.checkpoint_saver import CheckpointSaver
from applications.engine.norms_before_validation import BatchNormRecalibration
from applications.engine.run_length import RunLength
from applications.engine.unreadable import UnreadableHeldOutImages, UnreadableTrainImages
from applications.progress import Observer, Progress, Sums
from dataloader.loading.loader import Loader
from dataloader.loading.plan import TrainPlan
from dataloader.sample import Batch
from optim.stepper import Stepper
from utils.distributed import StopVote, World
from utils.errors import UserError
from utils.logs import log
from utils.randomness import Stream, derive_seed
from utils.runtime import TIME_UP, StopSignal


class Interruption(Exception):  # noqa: N818 - it is not an error
    """A signal, or the time limit, ended the run after a checkpoint was written."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


@dataclass
class TrainingRun:
    """Everything a training run is made of; `TrainingParts.training_run` builds it."""

    model: nn.Module
    task: Task
    objective: Objective
    loader: Loader
    transforms: Sequence[Transform]
    stepper: Stepper
    progress: Progress
    observers: Sequence[Observer]
    saver: CheckpointSaver
    norms: BatchNormRecalibration
    validate: Callable[[], Mapping[str, float]]
    world: World
    device: torch.device
    stop: StopSignal
    seed: int
    length: RunLength
    accumulate: int
    print_freq: int
    left_out: UnreadableHeldOutImages = field(default_factory=UnreadableHeldOutImages)
    # State of the loop.
    loss_guard: "NonFiniteLossGuard" = field(init=False, default_factory=lambda: NonFiniteLossGuard())
    unreadable: UnreadableTrainImages = field(init=False, default_factory=UnreadableTrainImages)


def fit(run: TrainingRun) -> None:
    """Train until the last epoch, or until validation stops improving.

    Raises:
        Interruption: SIGINT, SIGTERM or SIGHUP came; the run was saved.
        UserError: the loss is not finite; the last good checkpoint is kept.
    """
    vote = StopVote(run.world)
    try:
        while run.progress.epoch < run.length.epochs and not run.saver.is_exhausted(run.progress):
            _fit_epoch(run, vote)
    finally:
        vote.settle()
    if run.progress.epoch < run.length.epochs:
        log().info(f"stopped early: no better validation since epoch {run.progress.best_epoch}")


def _fit_epoch(run: TrainingRun, vote: StopVote) -> None:
    """Train an epoch, or the rest of one; validate; notify the observers; save."""
    begun = run.progress.step
    row = {"epoch": run.progress.epoch + 1, **train_epoch(run, vote)}
    # A run resumed after its last batch validates even if its time is up; otherwise every further resume would stop here again.
    least = TIME_UP + 1 if run.progress.step == begun else TIME_UP
    _leave_if_stopped(run, least)
    run.norms.refresh()
    figures = _validate(run)
    _leave_if_stopped(run, least)
    # Only after the last early exit: a run that stops before this line validates the epoch again when resumed.
    run.stepper.validated(figures)
    row |= {f"val_{name}": value for name, value in figures.items()}
    row["val_unreadable"] = run.left_out.count
    for observer in run.observers:
        observer.length(run.length.epochs)
        observer.epoch(run.progress, row)
    run.saver.end_epoch(run.progress, (row[f"val_{run.task.headline}"], -row["val_loss"]))


def _validate(run: TrainingRun) -> Mapping[str, float]:
    try:
        figures = run.validate()
    except UserError as error:
        if run.world.size > 1:
            raise
        # An unreadable validation image must not cost the epoch: a resumed run begins with validating.
        run.saver.save(run.progress)
        raise UserError(
            f"{error}; the epoch is saved; fix this, then run python main.py --resume {quote(str(run.saver.folder))}"
        ) from error
    if not all(map(math.isfinite, figures.values())):
        raise UserError(
            f"the validation figures after epoch {run.progress.epoch + 1} are not finite: the last steps broke the weights, "
            "which are not kept. Lower --lr, set --clip_grad 1, or try --precision fp32"
        )
    return figures


def train_epoch(run: TrainingRun, vote: StopVote) -> dict[str, float]:
    """Train on the rest of the epoch; return its metrics over all processes."""
    progress, loader, length = run.progress, run.loader, run.length
    assert isinstance(loader.plan, TrainPlan), "training walks a shuffled loader"
    shares, whole = loader.plan.shares(run.accumulate), len(loader.plan)
    length.begin_epoch(progress)
    for observer in run.observers:
        observer.length(length.epochs)
        observer.begin(progress, length.batches(progress.epoch, whole))
    run.model.train()
    run.unreadable.begin()
    timer = DataWaitTimer()
    seen_before, first_walked = progress.samples, progress.batch
    fewest = length.fewest(progress.batch, run.norms.batches, length.batches(progress.epoch, whole))
    first, begun = run.norms.first(progress.batch, fewest), progress.step - progress.batch
    batches = loader.batches(progress.epoch, start_batch=first, sized_as=length.planned_epoch(progress.epoch))
    for number, batch in enumerate(timer.waiting(batches), first):
        if number >= length.batches(progress.epoch, whole):
            break
        run.norms.hold(batch, begun + number)
        if number < progress.batch:
            continue
        run.unreadable.tell(batch)
        batch = batch.to(run.device)
        # Dropout and drop path are seeded by the position, too, so that a resumed run repeats them.
        seed = derive_seed(Stream.MODEL, run.seed, progress.step, run.world.rank)
        torch.manual_seed(seed)
        for transform in run.transforms:
            batch = transform(batch, progress.step, run.world.rank)
        share, closes_group = shares[progress.batch]
        with run.stepper.forward(sync=closes_group):
            result = run.objective(run.model, batch)
        again = partial(_loss_again, run, batch, seed)
        run.stepper.step(result.loss, share, closes_group=closes_group, count=result.count, again=again)
        run.loss_guard.add(progress.step, result.loss)
        progress.advance(batch, result)
        for observer in run.observers:
            observer.step(progress)
        if progress.batch % run.print_freq == 0 or timer.second_passed():
            _report(run)
        if closes_group:
            length.look(progress)
            signal, save_is_due = vote.agreed(run.stop.received, run.saver.is_due())
            if signal:
                _save_and_leave(run, signal)
            if save_is_due:
                _save(run)
    run.loss_guard.check()
    run.unreadable.check(run.world)
    means = _means_of_all(progress, run.world)
    images = sum(run.world.gather(progress.samples - seen_before))
    # A run resumed after the epoch's last batch read no images, so there is no speed to report.
    seconds = timer.seconds() if images else math.nan
    figures = {"lr": run.stepper.lr, **{f"train_{name}": value for name, value in means.items()}}
    walked = progress.batch - first_walked
    timing = {"seconds": seconds, "batch_seconds": seconds / walked if walked else math.nan}
    return {**figures, "images_per_second": images / seconds, "data_wait": timer.waited / seconds, **timing}


def _loss_again(run: TrainingRun, batch: Batch, seed: int) -> Tensor:
    """Return the loss of a batch at the current weights, without effect on the criterion's counts or the random streams."""
    torch.manual_seed(seed)
    with run.stepper.forward(sync=True):
        return run.objective(run.model, batch, record=False).loss


def _report(run: TrainingRun) -> None:
    run.loss_guard.check()
    means = run.progress.means()
    for observer in run.observers:
        observer.report(run.progress, means)


def _save(run: TrainingRun) -> None:
    """Write a checkpoint; every process comes here, since the sums of the epoch are gathered from all."""
    run.loss_guard.check()
    run.saver.save(run.progress, _sums_of_all(run.progress, run.world))


def _save_and_leave(run: TrainingRun, signal: int) -> None:
    _save(run)
    raise Interruption(signal)


def _leave_if_stopped(run: TrainingRun, least: int) -> None:
    """End all processes together when any of them was asked to stop by this or a larger signal."""
    signal = max(run.world.gather(run.stop.received))
    if signal >= least:
        _save_and_leave(run, signal)


def _sums_of_all(progress: Progress, world: World) -> Sums:
    """Return the epoch's sums and samples over all processes."""
    parts = world.gather(({name: float(value) for name, value in progress.sums.items()}, progress.samples))
    names = {name: None for sums, _ in parts for name in sums}
    return {name: sum(sums.get(name, 0.0) for sums, _ in parts) for name in names}, sum(samples for _, samples in parts)


def _means_of_all(progress: Progress, world: World) -> dict[str, float]:
    """Return the epoch's means over all processes, weighted by their samples."""
    sums, samples = _sums_of_all(progress, world)
    return {name: value / max(1, samples) for name, value in sums.items()}


class NonFiniteLossGuard:
    """Keeps the losses since the last check on the device, so that the first bad one can be named by its step."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._losses: list[Tensor] = []

    def add(self, step: int, loss: Tensor) -> None:
        self._steps.append(step)
        self._losses.append(loss.detach())

    def check(self) -> None:
        """Check all losses since the last call.

        Raises:
            UserError: one of them is not finite.
        """
        if not self._losses:
            return
        finite = torch.stack(self._losses).isfinite().tolist()
        steps = self._steps
        self._steps, self._losses = [], []
        if not all(finite):
            step = steps[finite.index(False)]
            raise UserError(
                f"the loss is not finite at step {step + 1}; the checkpoints written before are kept. "
                "Lower --lr, set --clip_grad 1, or try --precision fp32"
            )


class DataWaitTimer:
    """Measures an epoch, and how much of it was spent waiting for data."""

    def __init__(self) -> None:
        self._start = self._second = time.perf_counter()
        self.waited = 0.0

    def waiting(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches, counting the time until each arrives."""
        source = iter(batches)
        while True:
            asked = time.perf_counter()
            batch = next(source, None)
            self.waited += time.perf_counter() - asked
            if batch is None:
                return
            yield batch

    def second_passed(self) -> bool:
        """Whether a second has passed since this was last true."""
        now = time.perf_counter()
        if now - self._second < 1.0:
            return False
        self._second = now
        return True

    def seconds(self) -> float:
        return max(1e-9, time.perf_counter() - self._start)
