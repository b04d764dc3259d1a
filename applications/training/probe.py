"""--probe: a linear classifier on a frozen network, in seconds. What trained weights give without training them further."""

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from shlex import quote

import torch
from torch import Tensor, nn

from applications import assemble
from applications.assemble.training_data import open_training_data
from applications.engine.checkpoint_saver import weights_alone
from applications.engine.observers import CsvLog, describe
from applications.engine.unreadable import UnreadableHeldOutImages
from applications.settings.options import Request
from applications.tasks.label_task import LabelTask
from applications.training.known_probe import NEIGHBORS, keep_probe
from applications.training.memory_advice import memory_advice
from applications.training.probe_head import Embedded, embedded_split, fitted_head, in_training_precision, put_into
from applications.training.resume import pin_data
from applications.training.run_folder import new_run_folder
from applications.training.training_parts import TrainingParts, open_parts
from applications.training.usual_shape import usual_shape
from applications.training.validator import build_validator
from dataloader.augment.chain import Augment
from models import staged_part
from models.backbone import Backbone
from models.stages import StagedClassifier
from optim.linear_head import LinearHead, Tried, answered_right, names_one_class, nearest_neighbors
from utils.checkpoint import BEST, save_checkpoint
from utils.distributed import close_world
from utils.errors import UserError
from utils.files import write_text
from utils.logs import log
from utils.program_clock import program_seconds
from utils.registry import is_user_code
from utils.runtime import available_memory, memory_explained
from utils.text import counted, say_bytes

# Larger than in training: a pass over the images costs little, and features of larger images tell more apart.
LONGER_SIDE, STRIDE = 288, 32
# Of the free memory, what may be used; and what a feature and a logit of an image take while heads are fitted: as they are kept, in fp64,
# in fp32 and of the folds; and of the solver.
MEMORY_SHARE, BYTES_OF_FEATURE, BYTES_OF_LOGIT = 0.8, 24, 64


def run(request: Request) -> int:
    """Embed the training and validation images, fit the classifier, write the model; return the exit code."""
    # A file may hold the time of a training.
    config = pin_data(request.config.override({"minutes": None}))
    if config.train.resume:
        raise UserError("--probe starts a model from trained weights: give --pretrained or --init_from FILE, and leave --resume out")
    if not (config.model.pretrained or config.model.init_from):
        raise UserError("--probe looks at what trained weights give: add --pretrained, or --init_from FILE")
    # Answers of the model will be computed exactly, and so are the features by which it is judged.
    machine = assemble.open_machine(config, training=False)
    try:
        if machine.world.size > 1:
            raise UserError("--probe is over in seconds on one process; leave --nproc, --gpus and --nodes out")
        with ExitStack() as locks, memory_explained(memory_advice(config.data)):
            catalog = open_training_data(config, machine.world, None)
            assemble.check_num_classes(config.model.num_classes, catalog.classes)
            parts = open_parts(config, machine, catalog, Augment())
            if "image_size" not in request.given and _takes(parts.model, size := usual_shape(parts.split).with_longer(LONGER_SIDE, STRIDE)):
                parts = open_parts(config.override({"image_size": size}), machine, catalog, Augment())
            return _probe(parts, locks)
    finally:
        close_world(machine.world)


def _takes(model: nn.Module, size: tuple[int, int]) -> bool:
    try:
        if isinstance(model, Backbone):
            model.check_size(size)
    except UserError:
        return False
    return isinstance(model, Backbone)


def _probe(parts: TrainingParts, locks: ExitStack) -> int:
    config, catalog, task = parts.config, parts.catalog, parts.task
    model = parts.model
    if not (isinstance(model, Backbone) and issubclass(parts.kind, LabelTask)):
        raise UserError(f"--probe fits a classifier of labels, and --task {task.name} has none; leave it out")
    if len(model.classifiers()) > 1:
        raise UserError(f"--probe fits one classifier, and {config.model.arch} answers by several; choose another --arch")
    log().info(f"data      {catalog.root}: {len(catalog.classes)} {catalog.target.described}")
    log().info(f"model     {config.model.arch} at {parts.preprocess.image_size[0]}x{parts.preprocess.image_size[1]}, frozen")
    begun, staged = time.perf_counter(), _with_room(parts, _staged(parts))
    train, cached = embedded_split(staged or parts, parts.split, in_training_precision(parts))
    val, more = embedded_split(staged or parts, catalog.splits["val"], parts.machine)
    images = len(parts.split) + len(catalog.splits["val"])
    log().info(f"features  {counted(images, 'image')} in {time.perf_counter() - begun:.1f} s, {cached + more:,} of them known before")
    begun = time.perf_counter()
    chosen, *others = _fits(parts, staged, train)
    took = time.perf_counter() - begun
    told = f"strength {chosen.best.strength:g} of the penalty, {chosen.what}: {chosen.best.accuracy:.1%} right in cross-validation"
    told += "".join(f"; {other.what}: {other.best.accuracy:.1%}" for other in others)
    log().info(f"head      {told} ({took:.1f} s)")
    read = chosen.parts.model
    assert isinstance(read, Backbone)
    put_into(read.get_classifier(), chosen.head)
    known, asked = (_last_stage(each.features, model) for each in (train, val))
    near = _logits(nearest_neighbors(known, train.targets, asked, count=NEIGHBORS))
    right = answered_right(near, val.targets, one_each=names_one_class(train.targets, assemble.activation_of(config.loss)))
    return _written(chosen, float(right.double().mean()), parts, locks)


@dataclass(frozen=True, eq=False)
class Fit:
    """A classifier, of which network, and what cross-validation says of it."""

    parts: TrainingParts
    best: Tried
    head: LinearHead
    what: str


def _staged(parts: TrainingParts) -> TrainingParts | None:
    """Return the parts of the same network with a classifier that reads several stages; None where it shows none."""
    arch = parts.config.model.arch
    if staged_part(arch) is not None or is_user_code(arch):
        return None
    found = replace(parts, config=parts.config.override({"arch": f"stages({arch})"}))
    try:
        return found if isinstance(found.model, StagedClassifier) else None
    except (AssertionError, RuntimeError, UserError, ValueError):
        return None


def _with_room(parts: TrainingParts, staged: TrainingParts | None) -> TrainingParts | None:
    """Return the parts whose classifier reads several stages, if there are, and memory suffices for what it reads of all images.

    Raises:
        UserError: it does not even suffice for the last stage.
    """
    free = MEMORY_SHARE * available_memory()
    described = f"of {counted(len(parts.split), 'training image')} need about"
    if staged is not None:
        if (needed := _bytes_of_fit(staged)) <= free:
            return staged
        said = f"features of several stages {described} {say_bytes(needed)} of memory, and {say_bytes(free)} may be used"
        log().info(f"head      reads the last stage alone: {said}")
    if (needed := _bytes_of_fit(parts)) > free:
        said = f"features {described} {say_bytes(needed)} of memory, and {MEMORY_SHARE:.0%} of what is free is {say_bytes(free)}"
        fitting = int(len(parts.split) * free / needed)
        raise UserError(f"--probe: {said}; name at most {fitting:,} of them in a list: --data FILE.csv")
    return None


def _bytes_of_fit(parts: TrainingParts) -> int:
    """Return how many bytes fitting the classifier needs at most, by its width and the number of images."""
    model = parts.model
    assert isinstance(model, Backbone)
    width, classes = model.get_classifier().weight.shape[1], len(parts.catalog.classes)
    return len(parts.split) * (BYTES_OF_FEATURE * width + BYTES_OF_LOGIT * classes)


def _fits(parts: TrainingParts, staged: TrainingParts | None, train: Embedded) -> list[Fit]:
    """Return the classifier of the last stage, and that of several where there is one, the better one first."""
    activation, seed = assemble.activation_of(parts.config.loss), parts.config.runtime.seed
    last = replace(train, features=_last_stage(train.features, parts.model))
    what = "of several stages" if isinstance(parts.model, StagedClassifier) else "of the last stage"
    assert isinstance(parts.model, Backbone)
    found = [Fit(parts, *fitted_head(last, parts.model, activation, seed=seed), what)]
    if staged is not None:
        assert isinstance(staged.model, Backbone)
        found.append(Fit(staged, *fitted_head(train, staged.model, activation, seed=seed), "of several stages"))
    return sorted(found, key=lambda fit: fit.best.loss)


def _last_stage(features: Tensor, model: nn.Module) -> Tensor:
    """Return the columns that the network's own classifier reads, which come last."""
    assert isinstance(model, Backbone)
    return features[:, -model.get_classifier().weight.shape[1] :]


def _logits(shares: Tensor) -> Tensor:
    return torch.logit(shares.clamp(1e-9, 1 - 1e-9))


def _written(chosen: Fit, near: float, plain: TrainingParts, locks: ExitStack) -> int:
    """Measure the model on the validation images as a training does, write it and its run folder, and say what it reached."""
    parts, best = chosen.parts, chosen.best
    task, progress = parts.task, parts.progress
    folder = new_run_folder(parts, None, locks)
    left_out = UnreadableHeldOutImages(len(parts.val_loader.split))
    figures = build_validator(parts, None, left_out)()
    parts.val_loader.close()
    progress.next_epoch()
    progress.best, progress.best_epoch = (figures[task.headline], -figures["loss"]), 1
    content = {**parts.checkpoint_content(), "epoch": 1, "progress": progress.state_dict()}
    save_checkpoint(folder / BEST, weights_alone(content))
    CsvLog(folder / "metrics.csv", 0).epoch(progress, {"epoch": 1, **{f"val_{name}": value for name, value in figures.items()}})
    told = {"headline": task.headline, "linear": figures[task.headline], "neighbors": near, "count": NEIGHBORS, "strength": best.strength}
    told |= {"image_size": list(parts.preprocess.image_size)}
    # Under the name of the network without stages, which is what a fine-tuning starts from.
    keep_probe(plain, told)
    write_text(folder / "probe.json", json.dumps(told, indent=2) + "\n")
    log().info(f"linear    {describe({f'val_{name}': value for name, value in figures.items()}, task.metric_names)}")
    log().info(f"neighbors {near:.1%} of the val images answered right by the {NEIGHBORS} most similar training images")
    log().info(f"done: {folder / BEST} after {program_seconds():.0f} s")
    log().info(f"next: python main.py --evaluation --resume {quote(str(folder))}")
    return 0
