"""The task of a run, its loss, and the numbers of images per class that the loss needs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from applications.abilities import ABILITIES, FOURTH_CHANNEL
from applications.contract import Task
from applications.settings.flag_use import flag_of
from applications.settings.options import LossOptions, RunConfig
from applications.tasks import TASKS
from criterions import REGION_LOSSES
from criterions.elementwise import ActivationName
from criterions.weighted import build_elementwise
from dataloader.images.preprocess import Preprocess
from dataloader.loading.sampling import expected_draws
from dataloader.splits.catalog import Catalog
from dataloader.splits.split import Split
from utils.errors import UserError, shorten
from utils.spec import SpecSource


def choose_task(config: RunConfig, catalog: Catalog) -> type[Task]:
    """Return the row of TASKS that --task names, or the only one that fits the targets.

    Raises:
        UserError: the targets belong to another task, there are too few classes, or a flag asks for what the task cannot do.
    """
    name, meant = config.train.task, [each for each in TASKS if TASKS.resolve(each).target is catalog.target]
    if name is None and not meant:
        raise UserError(f"the images of {catalog.root} have {catalog.target.per_image}, which no task of this program takes")
    if name is None and len(meant) > 1:
        raise UserError(f"the images of {catalog.root} have {catalog.target.per_image}: choose with --task {' or --task '.join(meant)}")
    kind: type[Task] = TASKS.resolve(name or meant[0])
    if kind.target is not catalog.target:
        raise UserError(
            f"--task {name} takes {kind.target.per_image} an image, {catalog.root} has {catalog.target.per_image}; leave the flag out, or "
            "name other data"
        )
    if len(catalog.classes) < kind.fewest_classes:
        known = f"a single class, {catalog.classes[0]}" if len(catalog.classes) == 1 else f"{len(catalog.classes)} classes"
        raise UserError(f"{catalog.root} holds {known}; --task {kind.name} needs at least {kind.fewest_classes}")
    weighed = any(part.name == "class_weights" for part in config.loss.spec())
    refuse_unable(kind, {**config.to_dict(), "class_weights": weighed})
    if config.model.channels == 4 and FOURTH_CHANNEL not in kind.abilities:
        raise UserError(f"--channels 4 is for images with labels, and --task {kind.name} looks at colors; leave it out")
    return kind


def with_usual_settings(config: RunConfig, catalog: Catalog) -> RunConfig:
    """Return the settings with the usual loss of the task, and the usual rate of its head beside trained weights, where none is given."""
    kind = choose_task(config, catalog)
    if config.loss.criterion is None:
        config = replace(config, loss=config.loss.completed(kind.usual_criterion))
    if config.optim.head_lr is None and kind.head_rate != 1 and (config.model.pretrained or config.model.init_from):
        config = replace(config, optim=replace(config.optim, head_lr=kind.head_rate * config.optim.lr))
    return config


def refuse_unable(kind: type[Task], asked: Mapping[str, Any]) -> None:
    """Raise UserError for the first flag or action, of name -> value, that asks for what a task cannot do."""
    for ability, flags in ABILITIES.items():
        for flag in flags if ability not in kind.abilities else ():
            if asked.get(flag):
                raise UserError(f"--{flag_of(flag)} is for {ability}, which --task {kind.name} does not do; leave it out")


def check_num_classes(given: int | None, classes: tuple[str, ...]) -> None:
    """Raise UserError when --num_classes contradicts the data."""
    if given is not None and given != len(classes):
        raise UserError(f"--num_classes {given}: the data has {len(classes)} classes ({shorten(classes)}); leave the flag out to take them")


def activation_of(loss: LossOptions) -> ActivationName:
    """Return what the loss of a run makes of logits."""
    first = loss.spec()[0]
    return "softmax" if first.name in REGION_LOSSES else build_elementwise(first).activation


def count_classes(split: Split, num_classes: int, *, sampler: SpecSource | None = None, spread: bool = False) -> list[float]:
    """Return how many images of each class an epoch has, as the loss will see them; shared targets count by their shares.

    An image counts as often as the sampler draws it, times its weight, so that the priors are those of the images that are drawn. Draws
    and weights are scaled so that they sum to the number of images.

    Args:
        split: the training images, with the targets and the weights that training uses.
        num_classes: width of the answer.
        sampler: --sampler; None draws every image alike.
        spread: whether an image with several labels counts once in all, in equal parts for its labels.
    """
    draws = np.ones(len(split)) if sampler is None else expected_draws(sampler, split)
    counted = draws * split.weights
    if counted.sum() > 0:
        counted *= len(split) / counted.sum()
    if split.targets.ndim == 2:
        targets = split.targets.astype(np.float64)
        if spread:
            targets /= np.maximum(targets.sum(1, keepdims=True), 1e-12)
        return (counted @ targets).tolist()
    return np.bincount(split.targets, counted, minlength=num_classes).tolist()


def build_task(
    loss: LossOptions,
    classes: tuple[str, ...],
    preprocess: Preprocess,
    device: torch.device,
    *,
    kind: type[Task],
    class_counts: Sequence[float] | None = None,
    class_shares: Sequence[float] | None = None,
) -> Task:
    """Return the task: what a batch means, and what a wrong answer costs.

    Without `class_counts` the task can evaluate but not train: weighters and their files are left out.

    Args:
        loss: of training.
        classes: names.
        preprocess: what the network sees of an image.
        device: where it computes.
        kind: the row of TASKS.
        class_counts: as `count_classes` gives them; None for a model that is trained.
        class_shares: counts that are spread; None where each image has one label.
    """
    spec = loss.spec()
    if class_counts is None:
        criterion = kind.build_criterion(spec[:1])
    else:
        criterion = kind.build_criterion(
            spec,
            classes=classes,
            class_counts=class_counts,
            class_shares=class_shares,
            label_smoothing=loss.label_smoothing,
            logit_adjust=loss.logit_adjust,
            jsd=loss.jsd,
        )
    return kind(classes, criterion, preprocess, device)
