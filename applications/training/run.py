"""What a training run is made of, fresh or as its checkpoint left it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from applications import assemble
from applications.assemble import Machine
from applications.assemble.seen_images import NONE, Seen
from applications.contract import Progress, Task
from applications.settings.options import RunConfig
from applications.sidecars.apply import apply_sidecars
from applications.trained.checkpoint import temperature_of, thresholds_of
from applications.training.parents import settle_seen
from applications.training.teaching import Teaching, build_teaching
from dataloader.images.preprocess import Preprocess
from dataloader.loading.loader import Loader
from dataloader.splits.catalog import Catalog, fingerprint
from models.slimming.widths import apply_plan
from optim.stepper import Stepper
from utils.errors import shorten
from utils.logs import log


@dataclass(frozen=True)
class Parts:
    """What a run is made of, fresh or restored."""

    preprocess: Preprocess
    task: Task
    teaching: Teaching
    model: nn.Module
    wrapped: nn.Module
    stepper: Stepper
    progress: Progress
    train_loader: Loader
    val_loader: Loader
    transforms: list
    prints: str
    seen: Seen


def build_parts(config: RunConfig, machine: Machine, catalog: Catalog, preprocess: Preprocess, content: Mapping[str, Any] | None) -> Parts:
    """Return everything that trains, as the checkpoint left it where there is one."""
    classes, device = catalog.classes, machine.device
    train_split = apply_sidecars(config, catalog, assemble.activation_of(config))
    counts = assemble.count_classes(train_split, len(classes), sampler=config.data.sampler)
    _tell_priors(config, classes, counts)
    shares = assemble.count_classes(train_split, len(classes), sampler=config.data.sampler, spread=True)
    name = assemble.task_name(catalog)
    task = assemble.build_task(config, classes, preprocess, device, name=name, class_counts=counts, class_shares=shares)
    train_loader = assemble.build_loader(config, train_split, preprocess, machine, training=True, cached=True)
    val_loader = assemble.build_loader(config, catalog.splits["val"], preprocess, machine, training=False, cached=True, tolerant=True)

    starts = config if content is None else replace(config, model=replace(config.model, pretrained=False, init_from=None))
    model = assemble.build_network(starts, classes, max(1, len(train_loader.plan)), counts, images=len(train_split))
    if content is not None:
        apply_plan(model, content["channels"])
    if config.runtime.sync_bn:
        model = assemble.prepare_sync_bn(model, machine)
    model.to(device, memory_format=machine.precision.memory_format)  # pyright: ignore[reportCallIssue]
    progress = Progress()
    teaching = build_teaching(config, model, task, catalog, train_loader, progress, machine)
    wrapped = assemble.wrap_network(config, teaching.network, machine)
    stepper = assemble.build_stepper(config, model, wrapped, machine, len(train_loader.plan), beside=teaching.beside, figures=task.figures)
    transforms = assemble.build_transforms(config, len(classes))
    prints = fingerprint(train_split)
    # Only the first process writes checkpoints.
    seen = settle_seen(config, catalog, train_split, content) if machine.world.is_first else Seen(NONE, NONE)
    parts = Parts(preprocess, task, teaching, model, wrapped, stepper, progress, train_loader, val_loader, transforms, prints, seen)
    if content is not None:
        _restore(parts, content, machine)
        if not progress.batch:
            _recount(stepper, progress.epoch * assemble.count_steps(config, len(train_loader.plan)))
    return parts


def _tell_priors(config: RunConfig, classes: Sequence[str], counts: Sequence[float]) -> None:
    """Say by which shares of the classes the loss goes, where a sampler changes them."""
    loss = config.loss
    weighted = any(part.name == "class_weights" for part in loss.spec())
    if config.data.sampler is not None and (weighted or loss.logit_adjust is not None or loss.prior_bias == "data"):
        total = max(sum(counts), 1e-12)
        shares = [f"{name} {count / total:.1%}" for name, count in zip(classes, counts, strict=True)]
        log().info(f"priors    the loss counts classes as --sampler draws them: {shorten(shares)}")


def _restore(parts: Parts, content: Mapping[str, Any], machine: Machine) -> None:
    """Put everything where the checkpoint left it."""
    task = parts.task
    parts.model.load_state_dict(content["state_dict"])
    parts.stepper.load_state_dict(content["stepper"])
    task.criterion.load_state_dict(content["loss_state"])
    task.thresholds, task.temperature = thresholds_of(content), temperature_of(content)
    # Absent in checkpoints that were written before there were teachers.
    if "teaching" in content:
        parts.teaching.load_state_dict(content["teaching"])
    parts.progress.load_state_dict(content["progress"], machine.device, is_first=machine.world.is_first)
    if content["data_fingerprint"] != parts.prints:
        log().warning("the training images changed since the checkpoint; the run goes on with them, and will differ from an unbroken one")


def _recount(stepper: Stepper, due: int) -> None:
    """Begin an epoch at the step where the schedule has it, though epochs have another number of steps now."""
    if stepper.steps != due:
        log().info(f"an epoch has another number of steps now; the schedule goes on at step {due}, not {stepper.steps}")
        stepper.move_to(due)
