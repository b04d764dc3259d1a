"""The rate of a classifier that comes with the weights: one that knows these classes learns no faster than the rest."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from applications.training.training_parts import TrainingParts
from utils.checkpoint import load_tensors
from utils.logs import log


def with_head_rate(parts: TrainingParts, given: Collection[str]) -> TrainingParts:
    """Return the parts of a fresh run with --lr for a classifier that was fitted to its classes, unless --head_lr is given.

    The high rate of a classifier beside trained weights is for one that begins anew. One that a training or --probe has fitted loses by it
    what it had.

    Args:
        parts: of a fresh run.
        given: names of the settings that the user has chosen.
    """
    optim, file = parts.config.optim, parts.config.model.init_from
    if not file or "head_lr" in given or optim.head_lr in (None, optim.lr) or not _knows(load_tensors(Path(file)), parts):
        return parts
    log().info(f"          --head_lr {optim.lr:g}, that of the rest: the classifier of {file} knows these classes")
    return replace(parts, config=replace(parts.config, optim=replace(optim, head_lr=optim.lr)))


def _knows(content: Any, parts: TrainingParts) -> bool:
    """Whether a file is a checkpoint of the same network for the same classes, in any order."""
    if not isinstance(content, Mapping) or content.get("arch") != parts.config.model.arch:
        return False
    return set(content.get("classes", ())) == set(parts.catalog.classes) and content.get("task") == parts.kind.name
