"""The classifier that a linear probe gives to a frozen network: the whole of --probe, and a start for fine-tuning.

Trained weights that begin with a random classifier are pulled about by it before it has learned; beginning with a fitted one keeps what
they know (Kumar et al., "Fine-tuning can distort pretrained features", arXiv 2202.10054).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from applications import assemble
from applications.assemble.machine import Machine
from applications.tasks.label_task import LabelTask
from applications.training.features import embed
from applications.training.training_parts import TrainingParts
from dataloader.batch.targets import dense_array
from dataloader.splits.content_hash import NOTHING
from dataloader.splits.split import Split
from models.backbone import Backbone
from models.stages import StagedClassifier
from optim.linear_head import Activation, LinearHead, Scale, Tried, choose_strength, deal_folds, fit_head
from utils.errors import UserError
from utils.logs import log
from utils.runtime import choose_precision
from utils.text import counted


@dataclass(frozen=True, eq=False)
class Embedded:
    """The images of a split that could be read.

    Attributes:
        features: (N, D).
        targets: float64 (N, C).
        together: a name for every image, N of them, which those share that are of one group or equal to the byte.
    """

    features: Tensor
    targets: Tensor
    together: list[str]


def in_training_precision(parts: TrainingParts) -> Machine:
    """Return the machine in the precision of training, whose rounding a head that is fitted does not feel."""
    machine, asked = parts.machine, parts.config.runtime.precision
    return replace(machine, precision=choose_precision(asked, machine.device, smallest=min(parts.preprocess.image_size)))


def embedded_split(parts: TrainingParts, split: Split, machine: Machine) -> tuple[Embedded, int]:
    """Return the features of the images of a split that can be used, and how many were known before.

    Raises:
        UserError: none of them can.
    """
    features, hashes, known = embed(parts, split, machine)
    rows = np.flatnonzero(np.isfinite(features).all(1) & (split.weights > 0))
    if not len(rows):
        raise UserError(f"none of {counted(len(split), f'{split.name} image')} can be used")
    if lost := len(split) - len(rows):
        log().warning(f"{counted(lost, f'{split.name} image')} left out: unreadable, or of weight 0")
    targets = dense_array(split.targets, len(parts.catalog.classes))[rows]
    groups = [split.groups[row] for row in rows] if split.groups else [""] * len(rows)
    together = kept_together(groups, hashes[rows].tolist())
    return Embedded(torch.from_numpy(features[rows]), torch.from_numpy(targets).double(), together), known


def kept_together(groups: Sequence[str], hashes: Sequence[int]) -> list[str]:
    """Return a name for every image, which those share that are of one group or of the same content, also by way of others.

    Args:
        groups: names of the images' groups; '' for none.
        hashes: of their content.
    """
    above: dict[str, str] = {}

    def top(name: str) -> str:
        while (other := above.setdefault(name, name)) != name:
            name = other
        return name

    # An image whose content is unknown, and that has no group, is like no other.
    contents = [f"content {number}" if number != NOTHING else f"image {place}" for place, number in enumerate(hashes)]
    for group, content in zip(groups, contents, strict=True):
        if group:
            above[top(content)] = top(f"group {group}")
    return [top(content) for content in contents]


def fitted_head(train: Embedded, network: Backbone, activation: Activation, *, seed: int) -> tuple[Tried, LinearHead]:
    """Return what cross-validation said of the best strength, and the head of all training images with it.

    Images count alike: a weight above 0 is as good as any other.

    Args:
        train: what the classifier of the network reads of the training images.
        network: whose classifier is to be fitted.
        activation: softmax for one class per image, sigmoid for several.
        seed: of the parts of cross-validation.
    """
    folds = deal_folds(train.targets.argmax(1).tolist(), train.together, seed=seed)
    if len(set(folds.tolist())) < 2:
        raise UserError(
            "--probe chooses the strength of its penalty on parts of the training images, and there is but one image or group, or all "
            "images are equal"
        )
    widths = network.kinds if isinstance(network, StagedClassifier) else ()
    best = choose_strength(train.features, train.targets, folds, activation=activation, widths=widths)[0]
    features = train.features.to(torch.float64, copy=True)
    scale = Scale.of(features, widths)
    head = fit_head(scale.apply_(features), train.targets, strength=best.strength, activation=activation)
    return best, scale.undo(head)


def put_into(classifier: nn.Linear | nn.Conv2d, head: LinearHead) -> None:
    """Give a classifier the weights of a head."""
    if classifier.bias is None:
        raise UserError("--probe needs a classifier with a bias, which that of this network lacks; choose another --arch")
    with torch.no_grad():
        classifier.weight.copy_(head.weight.to(classifier.weight).view_as(classifier.weight))
        classifier.bias.copy_(head.bias)


def why_not(parts: TrainingParts) -> str:
    """Return why the classifier of a fresh run cannot be fitted before its first step; '' where it can."""
    model, config = parts.model, parts.config
    if not (config.model.pretrained or config.model.init_from):
        return "it needs trained weights: add --pretrained, or --init_from FILE"
    if not (isinstance(model, Backbone) and issubclass(parts.kind, LabelTask)):
        return f"it fits a classifier of labels, and --task {parts.kind.name} has none"
    if len(model.classifiers()) > 1 or model.get_classifier().bias is None:
        return f"it fits one classifier with a bias, and {config.model.arch} has another one"
    if parts.machine.world.size > 1:
        return "it works in one process"
    return ""


def begin_with_probe(parts: TrainingParts) -> None:
    """Give the network of a fresh run the classifier of a linear probe, and say what cross-validation says of it.

    Raises:
        UserError: it cannot have one.
    """
    if reason := why_not(parts):
        raise UserError(f"--probe_head: {reason}; or leave the flag out")
    begun, model = time.perf_counter(), parts.model
    assert isinstance(model, Backbone)
    train, _ = embedded_split(parts, parts.split, parts.machine)
    activation = assemble.activation_of(parts.config.loss)
    best, head = fitted_head(train, model, activation, seed=parts.config.runtime.seed)
    put_into(model.get_classifier(), head)
    took = time.perf_counter() - begun
    log().info(f"head      fitted to the frozen network in {took:.1f} s: {best.accuracy:.1%} right in cross-validation")
