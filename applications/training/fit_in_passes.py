"""Fits a model that learns without gradients: one call, from the images to best.pt."""

import json
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from pathlib import Path
from shlex import quote

import numpy as np

from applications import assemble
from applications.contract import LearnsInPasses, Meter, Task
from applications.engine.passes import observe
from applications.engine.score import score
from applications.engine.unreadable import UnreadableHeldOutImages
from applications.progress import Progress
from applications.settings.options import LossOptions, OptimOptions, RunConfig, TeachOptions
from applications.training.training_parts import TrainingParts
from dataloader.images.read import ImageError, upright_size
from dataloader.splits.catalog import Catalog, name_some
from dataloader.splits.split import Split
from utils.checkpoint import BEST, save_checkpoint
from utils.errors import UserError
from utils.files import write_text
from utils.logs import log
from utils.metrics.grouped_statistics import number_groups
from utils.progress_bar import progress_bar
from utils.text import counted

# Settings of steps, beside all of the optimizer, of losses and of teachers.
OF_STEPS = (
    *(
        "epochs",
        "minutes",
        "hours",
        "recipe",
        "quantization_aware",
        "patience",
        "max_minutes",
        "save_minutes",
        "save_every",
        "keep",
        "batch",
        "aug",
        "aug_splits",
        "aug_repeats",
    ),
    *("multi_scale", "size_schedule", "sampler", "epoch_size", "drop_rate", "drop_path", "init", "bn_momentum", "bn_images"),
    *("compile", "sync_bn", "precision"),
)
# Most pixels of images whose size is chosen here: memory and time grow with them.
MOST_PIXELS = 2**18
MULTIPLE = 32
# Images whose sizes are looked at.
SIZES_SEEN = 100
# Spreads above the middle from which on a training image is called strange, at this ratio to the middle at least.
STRANGE, LEAST_RATIO = 3.0, 2.0
# Fewer images say nothing of what is usual.
FEWEST_TO_COMPARE = 10


def refuse_settings_of_steps(kind: type[Task], typed: Collection[str]) -> None:
    """Raise UserError for flags of the command line that are about learning by gradients."""
    names = {item.name for options in (OptimOptions, LossOptions, TeachOptions) for item in fields(options)} | set(OF_STEPS)
    for name in sorted(names.intersection(typed)):
        raise UserError(f"--{name} is about steps of training, and --task {kind.name} learns without any, in one look; leave it out")


def with_size_of_images(config: RunConfig, catalog: Catalog) -> RunConfig:
    """Return the settings with an image size that keeps the shape of the images, their own where it is not too large."""
    sizes = _sizes(catalog.splits["train"])
    if not sizes:
        return config
    height, width = (sorted(values)[len(values) // 2] for values in zip(*sizes, strict=True))
    shrink = min(1.0, (MOST_PIXELS / (height * width)) ** 0.5)
    chosen = tuple(max(MULTIPLE, round(side * shrink / MULTIPLE) * MULTIPLE) for side in (height, width))
    log().info(f"size      {chosen[0]}x{chosen[1]}, by images of {height}x{width} (--image_size H W for another)")
    return replace(config, data=replace(config.data, image_size=chosen))


def _sizes(split: Split) -> list[tuple[int, int]]:
    found = []
    for index in range(0, len(split), -(-len(split) // SIZES_SEEN)):
        try:
            found.append(upright_size(Path(split.file(index))) if split.store is None else split.read_picture(index).size)
        except ImageError:
            # It is named when its pixels are wanted.
            continue
    return found


def fit_in_passes(parts: TrainingParts, folder: Path) -> int:
    """Fit the model of a run on the training images, and choose what rests on held-out ones; return the exit code.

    Raises:
        UserError: there are too few images.
    """
    config, machine, task, model = parts.config, parts.machine, parts.task, parts.model
    assert isinstance(task, LearnsInPasses)
    plain = {"machine": machine, "tolerant": True}
    train_loader = assemble.build_loader(config, parts.split, parts.preprocess, **plain)
    val_loader, left_out = parts.val_loader, UnreadableHeldOutImages(len(parts.val_loader.split))
    try:
        total = (task.passes(model) + 1) * len(parts.split)
        with progress_bar("training images", total) as advance, machine.fp32_autocast() as autocast:
            unreadable, strange = observe(
                model, task, train_loader.batches, lambda: val_loader.batches(0), device=machine.device, advance=advance
            )
            where = {"device": machine.device, "autocast": autocast, "world": machine.world, "images": len(val_loader.split)}
            meter = score(model, task, val_loader.batches(0), **where, left_out=left_out)
    finally:
        train_loader.close()
        val_loader.close()
    unreadable.check(machine.world)
    _name_strange(strange, parts.split)
    _calibrate(task, meter, val_loader.split)
    figures = meter.figures()
    content = assemble.checkpoint_content(
        config, task, model, None, {}, parts.catalog, parts.preprocess, parts.data_fingerprint, parts.seen, None
    )
    save_checkpoint(folder / BEST, {**content, "epoch": 1, "progress": Progress(epoch=1).state_dict()})
    write_text(folder / "validation.json", json.dumps(figures, indent=2) + "\n")
    log().info(f"threshold {task.chosen()}")
    shown = "  ".join(f"{name.replace('_', ' ')} {value:.2%}" for name, value in figures.items())
    log().info(f"val       {shown}  ({len(val_loader.split)} images{f'; {left_out}' if left_out.count else ''})")
    log().info(f"done: weights {folder / BEST}")
    log().info(f"next: python main.py --evaluation --resume {quote(str(folder))}")
    return 0


def _calibrate(task: LearnsInPasses, meter: Meter, split: Split) -> None:
    """Have the task choose on held-out images, of which those of a group count once."""
    task.calibrate(meter, number_groups(split.groups) if split.groups else None)


def strangest(values: Mapping[int, float]) -> list[int]:
    """Return the positions of images that are far stranger than the others, the strangest first.

    Logarithms of distances are nearly normal among good images; the middle and the spread are those of the median, which a few others
    do not move.
    """
    if len(values) < FEWEST_TO_COMPARE:
        return []
    positions, logs = list(values), np.log(np.maximum(list(values.values()), 1e-12))
    middle = np.median(logs)
    spread = 1.4826 * np.median(np.abs(logs - middle))
    far = logs - middle > max(STRANGE * spread, np.log(LEAST_RATIO))
    return [positions[place] for place in np.argsort(-logs, kind="stable") if far[place]]


def _name_strange(values: Mapping[int, float], split: Split) -> None:
    """Warn of training images that may have defects."""
    if found := strangest(values):
        named = name_some([split.paths[position] for position in found], 5)
        many = counted(len(found), "training image looks", "training images look")
        log().warning(f"{many} far stranger than the others: {named}. Look at them: what has a defect must not be learned as good")
