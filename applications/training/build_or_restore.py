"""Builds all parts of a run, and puts them where a checkpoint left them."""

from collections.abc import Mapping
from typing import Any

from applications import assemble
from applications.training.probe_head import begin_with_probe
from applications.training.training_parts import TrainingParts
from models.fake_quantization import load_input_ranges
from optim.stepper import Stepper
from utils.errors import shorten
from utils.logs import log

# Build order: the loss first, so that its mistakes are reported before the (slow) cache; everything before the first step.
ORDER = ("task", "train_loader", "val_loader", "model", "teaching", "stepper", "data_fingerprint", "seen")
# Of a model that learns without steps.
WITHOUT_STEPS = ("task", "val_loader", "model", "data_fingerprint", "seen")


def build_or_restore(parts: TrainingParts) -> None:
    """Have everything built that trains and is kept, and put it where the checkpoint left it, where there is one."""
    _tell_priors(parts)
    for part in ORDER:
        getattr(parts, part)
        # Before the stepper: an average of the weights begins with it.
        if part == "model" and parts.content is None and parts.config.train.probe_head:
            begin_with_probe(parts)
    if parts.content is not None:
        _restore(parts, parts.content)
        if not parts.progress.batch:
            _recount(parts.stepper, parts.progress.epoch * assemble.count_steps(parts.config.optim, parts.batches_per_epoch))


def build_parts(parts: TrainingParts) -> None:
    """Have everything built that a model needs which learns without steps."""
    for part in WITHOUT_STEPS:
        getattr(parts, part)


def _tell_priors(parts: TrainingParts) -> None:
    """Say by which shares of the classes the loss goes, where a sampler changes them."""
    loss, counts = parts.config.loss, parts.class_counts
    weighted = any(part.name == "class_weights" for part in loss.spec())
    if parts.config.data.sampler is not None and (weighted or loss.logit_adjust is not None or loss.prior_bias == "data"):
        total = max(sum(counts), 1e-12)
        shares = [f"{name} {count / total:.1%}" for name, count in zip(parts.catalog.classes, counts, strict=True)]
        log().info(f"priors    the loss counts classes as --sampler draws them: {shorten(shares)}")


def _restore(parts: TrainingParts, content: Mapping[str, Any]) -> None:
    """Put everything where the checkpoint left it."""
    task, world = parts.task, parts.machine.world
    parts.model.load_state_dict(content["state_dict"])
    load_input_ranges(parts.model, content.get("input_ranges", {}))
    parts.stepper.load_state_dict(content["stepper"])
    task.criterion.load_state_dict(content["loss_state"])
    task.load_calibration(content)
    # Absent in checkpoints that were written before there were teachers.
    if "teaching" in content:
        parts.teaching.load_state_dict(content["teaching"])
    parts.progress.load_state_dict(content["progress"], parts.machine.device, is_first=world.is_first)
    if content["data_fingerprint"] != parts.data_fingerprint:
        log().warning("the training images changed since the checkpoint; the run goes on with them, and will differ from an unbroken one")


def _recount(stepper: Stepper, due: int) -> None:
    """Begin an epoch at the step where the schedule has it, though epochs have another number of steps now."""
    if stepper.steps != due:
        log().info(f"an epoch has another number of steps now; the schedule goes on at step {due}, not {stepper.steps}")
        stepper.move_to(due)
