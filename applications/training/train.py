"""Trains a model on a folder of images, or goes on with a run: the default action."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

from torch import nn

from applications import assemble
from applications.assemble import Machine
from applications.assemble.training_data import open_training_data
from applications.contract import LearnsInPasses, Task
from applications.engine.checkpoint_saver import CheckpointSaver
from applications.engine.fit import Interruption, fit
from applications.engine.norms_before_validation import BatchNormRecalibration, batches_to_count
from applications.engine.observers import ChanceWarning, CsvLog, PlainLines, ProgressBar, TensorBoard
from applications.engine.top_epochs import TopEpochs
from applications.engine.unreadable import UnreadableHeldOutImages
from applications.progress import Observer, Progress
from applications.settings.options import DataOptions, Request, RunConfig, run_folder_parent
from applications.settings.recipes import as_flags, describe_settings, rates_below, settled_by
from applications.tasks import TASKS
from applications.trained.probe_figures import PROBE
from applications.training.batch_size import with_batch_size
from applications.training.build_or_restore import build_or_restore, build_parts
from applications.training.compile_choice import with_compile_choice
from applications.training.disk_space import check_disk
from applications.training.final_averages import SOUP, AveragingInputs, unfinished, write_averages
from applications.training.fit_in_passes import fit_in_passes, refuse_settings_of_steps, with_size_of_images
from applications.training.known_probe import tell_probe
from applications.training.memory_advice import memory_advice, small_batch_explained
from applications.training.planning import with_plan
from applications.training.resume import pin_data, resumed_config
from applications.training.resume_auto import with_newest_run
from applications.training.run_folder import new_run_folder
from applications.training.teaching import pin_teaching
from applications.training.timed_length import TimedLength, epochs_of
from applications.training.training_parts import TrainingParts, open_parts
from applications.training.validator import build_validator
from dataloader.loading.loader import Loader
from dataloader.sample import Unreadable
from dataloader.splits.catalog import Catalog, name_some
from dataloader.splits.integrity import glance, refuse_unreadable
from utils.checkpoint import BEST, LAST, find_checkpoint, load_checkpoint
from utils.cores import default_workers
from utils.distributed import World, close_world
from utils.errors import UserError
from utils.files import WriteError
from utils.logs import console, log
from utils.runtime import TIME_UP, StopSignal, describe_machine, memory_explained
from utils.std_streams import READER_LEFT

# Seconds that a look at the validation images may take before training; what it has not seen is found by validating.
GLANCE = 30.0


def run(request: Request) -> int:
    """Train; return the exit code."""
    content, path = None, None
    request = with_newest_run(request)
    config = request.config
    if config.train.resume:
        path = find_checkpoint(config.train.resume, LAST)
        content = load_checkpoint(path)
        _refuse_weights_alone(content, path)
        config = resumed_config(content, request.given, path)
        plan = content.get("plan")
        if content["epoch"] >= (epochs_of(plan) if plan else config.train.epochs) and not unfinished(config.optim, path.parent):
            way_on = f"start a new run with --init_from {path.parent / BEST}" if plan else "give a larger --epochs"
            log().info(f"{path} is complete after {content['epoch']} epochs; {way_on} to train on")
            return 0
    config = pin_teaching(pin_data(config))
    machine = assemble.open_machine(config, training=True)
    try:
        with ExitStack() as locks, memory_explained(memory_advice(config.data)), small_batch_explained():
            return _train(config, machine, content, path, locks, request)
    finally:
        close_world(machine.world)


def _refuse_weights_alone(content: Mapping[str, Any], path: Path) -> None:
    """Raise UserError for a checkpoint to use, which holds nothing of the run that it came from."""
    if content["stepper"] is not None:
        return
    if issubclass(TASKS.resolve(content["task"]), LearnsInPasses):
        raise UserError(f"{path} is fitted: it was made in one look, and there is nothing to go on with; leave --resume out to fit anew")
    run = path.parent
    whole = f"go on with python main.py --resume {quote(str(run))}, or " if path.name != LAST and (run / LAST).is_file() else ""
    raise UserError(f"{path} holds the weights of epoch {content['epoch']} alone: {whole}start a new run from them with --init_from {path}")


def _train(
    config: RunConfig, machine: Machine, content: Mapping[str, Any] | None, path: Path | None, locks: ExitStack, request: Request
) -> int:
    augment = assemble.read_augment(config)
    catalog = _open_data(config, machine, content, path)
    kind = assemble.choose_task(config, catalog)
    if issubclass(kind, LearnsInPasses):
        refuse_settings_of_steps(kind, request.typed)
        if machine.world.size > 1:
            raise UserError(f"--task {kind.name} is fitted in one process; leave --nproc, --gpus and --nodes out")
        config = config if "image_size" in request.given else with_size_of_images(config, catalog)
        machine = replace(machine, precision=assemble.exact_precision())
        _announce(config, machine, catalog)
        parts = open_parts(config, machine, catalog, augment)
        build_parts(parts)
        return fit_in_passes(parts, new_run_folder(parts, path, locks))
    _announce(config, machine, catalog)
    parts = with_batch_size(open_parts(config, machine, catalog, augment, content, cached=True))
    if content is None:
        given = request.given
        if config.data.batch is not None:
            given = {**given, "batch_size": parts.config.data.batch_size}
            parts = replace(parts, config=parts.config.override(rates_below(given)))
        if request.left_out:
            log().info(f"left out  {as_flags(request.left_out)} of --config: meant for another optimizer than --opt {config.optim.opt}")
        for line in describe_settings(given):
            log().info(line)
        parts = with_plan(parts, settled_by(given))
    if plain := assemble.plain_epochs(parts.config, parts.split.nothing()):
        log().info(f"plain     in the last {plain} of {parts.config.train.epochs} epochs no images are put together (--plain_epochs)")
    parts = with_compile_choice(parts)
    build_or_restore(parts)
    probe = content.get(PROBE) if content is not None else tell_probe(parts) if machine.world.is_first else None
    config, progress = parts.config, parts.progress
    left_out = _look_at_held_out(config.data, machine, parts.val_loader)
    check_disk(config, parts.model, path.parent if path is not None else run_folder_parent(config.output, kind.name))
    folder = new_run_folder(parts, path, locks)
    if progress.step:
        log().info(f"resumed   epoch {progress.epoch + 1}, step {progress.batch} of the epoch")
    if machine.world.is_first and path is not None and path.parent != folder:
        _take_along(path.parent, folder)
    if path is not None and path.parent != folder:
        forget_best(progress)
    return _walk(parts, folder, left_out, probe)


def _take_along(old: Path, folder: Path) -> None:
    """Copy the curves up to the checkpoint that a new folder goes on from; later rows are dropped as they are read."""
    if (old / "metrics.csv").is_file():
        shutil.copyfile(old / "metrics.csv", folder / "metrics.csv")


def forget_best(progress: Progress) -> None:
    """Forget the best epoch so far: its weights are in the old run folder."""
    progress.best, progress.best_epoch = (float("-inf"), float("-inf")), progress.epoch


def _open_data(config: RunConfig, machine: Machine, content: Mapping[str, Any] | None, path: Path | None) -> Catalog:
    """Return the data of the run, which a checkpoint must have been trained on."""
    split_file = path.parent / "split.csv" if path is not None else None
    saved = split_file if split_file and split_file.is_file() else None
    catalog = open_training_data(config, machine.world, saved, numbers=None if content is None else content["preprocess"])
    assemble.check_num_classes(config.model.num_classes, catalog.classes)
    kind = assemble.choose_task(config, catalog).name
    if content is not None and (content["task"], tuple(content["classes"])) != (kind, catalog.classes):
        what = "other classes" if content["task"] == kind else "targets of another kind"
        differ = _differences(content["classes"], catalog.classes) if content["task"] == kind else ""
        raise UserError(f"{path} was trained on {what} than {catalog.root} has{differ}; start a new run with --init_from {path}")
    return catalog


def _differences(known: Sequence[str], found: Sequence[str]) -> str:
    """Return in words which of the classes of a model the data lacks, and the other way round."""
    lacks, more = (sorted(set(one) - set(other)) for one, other in ((known, found), (found, known)))
    said = [f"{what} {name_some(names, 5)}" for what, names in (("it lacks", lacks), ("it adds", more)) if names]
    return f" ({'; '.join(said) or 'the same ones in another order'})"


def _look_at_held_out(data: DataOptions, machine: Machine, loader: Loader) -> UnreadableHeldOutImages:
    """Return the validation images that cannot be read, as far as a quick look tells, before an epoch is spent on them.

    Raises:
        UserError: with --strict, any; else all of them.
    """
    split = loader.split
    # A cache knows unreadable images from being filled. Without one, JPEG files are decoded at the smallest scale,
    # which still reads all of their data.
    read = partial(split.read_picture, at_least=1) if data.cache == "off" else loader.read
    workers = default_workers(machine.world.size) if data.workers is None else data.workers
    errors = list(glance(read, split, workers=workers, seconds=GLANCE)) if machine.world.is_first else []
    errors = machine.world.gather(errors)[0]
    if data.strict or len(errors) == len(split):
        refuse_unreadable(split, errors)
    left_out = UnreadableHeldOutImages(len(split))
    left_out([Unreadable(error.path, error.reason) for error in errors])
    if errors:
        log().warning(f"{left_out}: validation goes on without them, and every row says so; --strict stops instead")
    return left_out


def _walk(parts: TrainingParts, folder: Path, left_out: UnreadableHeldOutImages, probe: Mapping[str, Any] | None) -> int:
    """Train to the end, or to the first signal; return the exit code."""
    config, task, progress, world = parts.config, parts.task, parts.progress, parts.machine.world
    saver = CheckpointSaver(
        folder,
        lambda: {**parts.checkpoint_content(), PROBE: probe},
        save_minutes=config.train.save_minutes,
        patience=config.train.patience,
        writes=world.is_first,
        top=TopEpochs(folder / SOUP, config.optim.soup) if config.optim.soup is not None else None,
        kept=TopEpochs(folder, config.train.keep, prefix="best-epoch", index="best-epochs.json") if config.train.keep is not None else None,
        save_every=config.train.save_every,
    )
    observers = build_observers(config, world, folder, progress, parts.model, task=task, classes=len(parts.catalog.classes))
    norms = _fresh_norms(parts)
    with StopSignal(config.train.max_minutes, speaks=world.is_first) as stop:
        validate = build_validator(parts, parts.stepper, left_out, observers)
        run = parts.training_run(observers=observers, saver=saver, norms=norms, validate=validate, stop=stop, left_out=left_out)
        try:
            fit(run)
            write_averages(AveragingInputs(parts, build_validator(parts, None, left_out), saver, norms.batches))
        except Interruption as interruption:
            stop.leave()
            why = "by --max_minutes " if interruption.signal == TIME_UP else ""
            said = f"stopped {why}after a save; go on with: python main.py --resume {quote(str(folder))}"
            log().info(said)
            if interruption.signal == READER_LEFT and world.is_first:
                print(f"the output is no longer read (closed pipe): {said}", file=sys.stderr)
            return 0 if interruption.signal == TIME_UP else 128 + interruption.signal
        except WriteError as error:
            raise UserError(f"{error}. {_kept(folder)}") from error
        except KeyboardInterrupt as interrupt:
            stop.leave()
            raise KeyboardInterrupt(_abandoned(folder, world)) from interrupt
        finally:
            for observer in observers:
                observer.close()
            parts.train_loader.close()
            parts.val_loader.close()
    _conclude(folder, progress, task, left_out)
    if isinstance(parts.length, TimedLength):
        log().info(f"time      {parts.length.spent() / 60:.2f} of {parts.length.minutes:g} minutes")
    return 0


def _fresh_norms(parts: TrainingParts) -> BatchNormRecalibration:
    """Return what counts batch-norm statistics before every validation."""
    config, machine = parts.config, parts.machine
    batches = batches_to_count(
        config.model.bn_images,
        batch_size=config.data.batch_size,
        image_size=config.data.image_size,
        batches_per_epoch=parts.batches_per_epoch,
    )
    return BatchNormRecalibration(
        parts.model, parts.task, parts.stepper, parts.mixes,
        batches=batches, device=machine.device, world=machine.world,
    )  # fmt: skip


def build_observers(
    config: RunConfig, world: World, folder: Path, progress: Progress, model: nn.Module, *, task: Task, classes: int
) -> list[Observer]:
    """Return who watches: nobody but on the first process."""
    if not world.is_first:
        return []
    epochs, freq = config.train.epochs, config.output.print_freq
    bar = console().is_terminal and config.output.log_level == "info"
    metrics = task.metric_names
    screen = ProgressBar(epochs, world.size, metrics) if bar else PlainLines(epochs, world.size, freq, metrics)
    board = TensorBoard(folder, progress.epoch, model, metrics, resumed=progress.step > 0)
    chance = 1 / classes if task.target.is_one_class else None
    return [screen, ChanceWarning(task.headline, chance, epochs), CsvLog(folder / "metrics.csv", progress.epoch), board]


def _kept(folder: Path) -> str:
    """Return what a run that cannot write any more has saved before, and how it goes on."""
    last = folder / LAST
    if not last.is_file():
        return "Nothing was saved before"
    return f"{last}, saved before, is whole; go on from it with: python main.py --resume {quote(str(folder))}"


def _abandoned(folder: Path, world: World) -> str:
    """Return what is left of a run that was interrupted twice; a folder without a checkpoint is removed."""
    if (folder / LAST).is_file():
        return f"interrupted without another save; go on from the last one with: python main.py --resume {quote(str(folder))}"
    if world.is_first:
        shutil.rmtree(folder, ignore_errors=True)
    return f"interrupted before anything was saved; {folder} is removed"


def _announce(config: RunConfig, machine: Machine, catalog: Catalog) -> None:
    sizes = ", ".join(f"{len(split)} {name}" for name, split in catalog.splits.items())
    height, width = config.data.image_size
    log().info(f"data      {catalog.root}: {len(catalog.classes)} {catalog.target.described}; {sizes} images")
    log().info(f"model     {config.model.described()} at {height}x{width}")
    processes = f", {machine.world.size} processes" if machine.world.size > 1 else ""
    log().info(f"machine   {describe_machine(machine.device)}{processes}")
    log().info(f"precision {machine.precision}")


def _conclude(folder: Path, progress: Progress, task: Task, left_out: UnreadableHeldOutImages) -> None:
    best = f"best val {task.headline} {progress.best[0]:.2%} (epoch {progress.best_epoch}{f'; {left_out}' if left_out.count else ''})"
    log().info(f"done: {best}; best weights {folder / BEST}, curves {folder / 'metrics.csv'}")
    log().info(f"next: python main.py --evaluation --resume {quote(str(folder))}")
