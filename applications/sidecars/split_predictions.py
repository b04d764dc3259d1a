"""What a model says of a whole split, be it a checkpoint or an exported file: the ground of knowledge and curriculum files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

import numpy as np
import torch

from applications import assemble
from applications.assemble import Machine
from applications.assemble.seen_images import Seen
from applications.settings.options import Request, RunConfig
from applications.tasks import TASKS
from applications.trained.checkpoint import load_trained, open_held_out, warn_of_seen_images
from applications.trained.exported import Exported, is_exported, load_exported
from applications.trained.inference import predict_split
from applications.trained.trained_task import build_label_task
from dataloader.batch.targets import dense_array
from dataloader.images.preprocess import Preprocess
from dataloader.opening.open_catalog import open_catalog
from dataloader.options import DataOptions
from dataloader.splits.split import Split
from dataloader.targets.target import Target
from utils.errors import UserError
from utils.logs import log
from utils.metrics.statistics import falling, weighted_average_precision
from utils.progress_bar import progress_bar

# Share of right answers below which a model is a doubtful teacher.
WEAK = 0.6


@dataclass(frozen=True, eq=False)
class SplitPredictions:
    """The answers of a model to the images of a split.

    Attributes:
        source: the file of the model.
        results: where pictures about it belong.
        flags: by which a training sees the same images as the model does.
        split: the images.
        classes: names, in the order of the columns.
        probabilities: float32 (N, C).
        activation: 'softmax' or 'sigmoid'.
        preprocess: what the model sees of an image.
        seen: the images that it was trained on; None where that is not known.
    """

    source: Path
    results: Path
    flags: str
    split: Split
    classes: Sequence[str]
    probabilities: np.ndarray
    activation: str
    preprocess: Preprocess
    seen: Seen | None = None

    def targets(self) -> np.ndarray:
        """Return the labels as float32 (N, C)."""
        return dense_array(self.split.targets, len(self.classes))

    def doubt(self) -> str:
        """Return why little can be learned from these answers, in a line; '' where they are mostly right."""
        truth = self.targets() >= 0.5
        if self.split.targets.ndim == 1:
            found, usual = float(truth[np.arange(len(truth)), self.probabilities.argmax(1)].mean()), float(truth.mean(0).max())
            said, blind = f"names only {found:.1%} of these images rightly", f"the most frequent class alone would be {usual:.1%}"
        else:
            occurs = truth.any(0)
            if not occurs.any():
                return ""
            averages = weighted_average_precision(*falling(self.probabilities), truth, np.ones(len(truth), dtype=int))
            found, usual = float(averages[occurs].mean()), float(truth.mean(0)[occurs].mean())
            said, blind = f"reaches an mAP of only {found:.1%} on these images", f"chance is {usual:.1%}"
        if found >= WEAK and found > usual:
            return ""
        return f"the model {said} ({blind}): what is learned from it will be as weak; train it further, or take another"


def predict_named_split(request: Request, name: str, machine: Machine) -> SplitPredictions:
    """Let the model of --resume answer all images of the split `name`.

    Raises:
        UserError: there is no such model or split.
    """
    if is_exported(request.resume):
        exported = load_exported(Path(request.resume), machine.device)
        assemble.refuse_unable(TASKS.resolve(exported.facts.task), {request.action: True})
        return _opinions_of_file(request.config, exported, name, machine.device, given="data" in request.given)
    trained = load_trained(request.resume, request.given, request.action, machine.device)
    # Whatever --split the run was once called with.
    trained = replace(trained, config=trained.config.override({"split": name}))
    split = open_held_out(trained, (name,))
    _announce(trained.describe(), split, machine)
    if name != "train" and machine.world.is_first:
        warn_of_seen_images(trained, split)
    task = build_label_task(trained, machine.device)
    probabilities = predict_split(trained, split, task, machine).probabilities.numpy()
    results = trained.results_folder()
    activation = task.criterion.activation
    flags = flags_for(trained.config, trained.preprocess, task.target)
    return SplitPredictions(
        trained.path, results, flags, split, trained.classes, probabilities, activation, trained.preprocess, trained.seen
    )


def _opinions_of_file(config: RunConfig, exported: Exported, name: str, device: torch.device, *, given: bool) -> SplitPredictions:
    if not given:
        raise UserError(f"{exported.path} does not know its images; name them: --data DIR")
    if config.data.fold is not None:
        raise UserError(f"--fold {config.data.fold}: {exported.path} does not know the folds of its training; leave --fold out")
    data = config.data.data
    catalog = open_catalog(data, classes=exported.classes, require_train=False, whole=name, target=exported.target)
    for note in catalog.notes:
        log().warning(note)
    if name not in catalog.splits:
        raise UserError(f"{catalog.root} has no {name} images; it has {', '.join(catalog.splits)}")
    split = catalog.splits[name].seen_by(exported.preprocess)
    alone = Machine(assemble.single_process(), device, assemble.exact_precision())
    _announce(exported.describe(), split, alone)
    loader = assemble.build_loader(config, split, exported.preprocess, alone)
    parts = []
    try:
        with torch.inference_mode(), progress_bar(f"{name} images", len(split)) as advance:
            for batch in loader.batches(0):
                parts.append(exported.module(batch.images.to(device)).cpu())
                advance(len(batch.images))
    finally:
        loader.close()
    path, probabilities = exported.path, torch.cat(parts).numpy()
    flags = flags_for(config, exported.preprocess, exported.target)
    return SplitPredictions(path, path.parent, flags, split, exported.classes, probabilities, exported.activation, exported.preprocess)


def flags_for(config: RunConfig, preprocess: Preprocess, target: type[Target]) -> str:
    """Return the flags of a training on the same images: the data and its split, the geometry, and a loss that fits the labels."""
    data, usual = config.data, DataOptions()
    parts: list[object] = ["--data", data.data]
    if preprocess.image_size != usual.image_size:
        parts += ["--image_size", *preprocess.image_size]
    if preprocess.resize != usual.resize:
        parts += ["--resize", preprocess.resize]
    if data.mean_std is not None and Path(data.mean_std).is_file():
        parts += ["--mean_std", data.mean_std]
    for name in ("val_share", "test_share", "group_by", "fold"):
        if getattr(data, name) != getattr(usual, name):
            parts += [f"--{name}", getattr(data, name)]
    if config.runtime.seed:
        parts += ["--seed", config.runtime.seed]
    if not target.is_one_class:
        parts += ["--criterion", "bce"]
    return " ".join(quote(str(part)) for part in parts)


def _announce(model: str, split: Split, machine: Machine) -> None:
    log().info(f"model     {model}")
    log().info(f"data      {split.display_path}: {len(split)} {split.name} images")
    log().info(f"precision {machine.precision}")
