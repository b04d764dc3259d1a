"""What a model says of a whole split, be it a checkpoint or an exported file: the ground of knowledge and curriculum files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from applications import assemble
from applications.assemble import Machine
from applications.evaluate import predict_split
from applications.exported import Exported, is_exported, load_exported
from applications.options import Request, RunConfig, run_folder_parent
from applications.trained import build_trained_task, load_trained, open_held_out
from dataloader.catalog import Split, open_catalog
from dataloader.preprocess import Preprocess
from utils.errors import UserError
from utils.logs import console, log


@dataclass(frozen=True, eq=False)
class Opinions:
    """The answers of a model to the images of a split.

    Attributes:
        source: the file of the model.
        results: where pictures about it belong.
        data: the value of --data.
        split: the images.
        classes: names, in the order of the columns.
        probabilities: float32 (N, C).
        activation: 'softmax' or 'sigmoid'.
        preprocess: what the model sees of an image.
    """

    source: Path
    results: Path
    data: str
    split: Split
    classes: Sequence[str]
    probabilities: np.ndarray
    activation: str
    preprocess: Preprocess

    def targets(self) -> np.ndarray:
        """Return the labels as float32 (N, C)."""
        targets = self.split.targets
        return targets if targets.ndim == 2 else np.eye(len(self.classes), dtype=np.float32)[targets]


def ask(request: Request, name: str, machine: Machine) -> Opinions:
    """Let the model of --resume answer all images of the split `name`.

    Raises:
        UserError: there is no such model or split.
    """
    resume = request.config.train.resume
    assert resume, "config.py asks for --resume"
    if is_exported(resume):
        return _opinions_of_file(
            request.config, load_exported(Path(resume), machine.device), name, machine.device, given="data" in request.given
        )
    trained = load_trained(request, machine.device)
    # Whatever --split the run was once called with.
    trained = replace(trained, config=trained.config.override({"split": name}))
    split = open_held_out(trained, (name,))
    _announce(trained.describe(), split, machine)
    task = build_trained_task(trained, machine.device)
    probabilities = predict_split(trained, split, task, machine).probabilities.numpy()
    folder = trained.path.parent
    results = folder if (folder / "config.json").is_file() else run_folder_parent(trained.config, trained.task)
    activation = task.criterion.activation
    data = trained.config.data.data
    return Opinions(trained.path, results, data, split, trained.classes, probabilities, activation, trained.preprocess)


def _opinions_of_file(config: RunConfig, exported: Exported, name: str, device: torch.device, *, given: bool) -> Opinions:
    if not given:
        raise UserError(f"{exported.path} does not know its images; name them: --data DIR")
    data = config.data.data
    catalog = open_catalog(data, classes=exported.classes, require_train=False, whole=name, several=exported.several)
    for note in catalog.notes:
        log().warning(note)
    if name not in catalog.splits:
        raise UserError(f"{catalog.root} has no {name} images; it has {', '.join(catalog.splits)}")
    split = catalog.splits[name]
    alone = Machine(assemble.alone(), device, assemble.exact())
    _announce(exported.describe(), split, alone)
    loader = assemble.build_loader(config, split, exported.preprocess, alone, training=False)
    parts = []
    try:
        with torch.inference_mode():
            batches = track(
                loader.batches(0), f"{name} images", len(loader), console=console(), transient=True, disable=not console().is_terminal
            )
            parts += [exported.module(batch.images.to(device)).cpu() for batch in batches]
    finally:
        loader.close()
    path, probabilities = exported.path, torch.cat(parts).numpy()
    return Opinions(path, path.parent, data, split, exported.classes, probabilities, exported.activation, exported.preprocess)


def _announce(model: str, split: Split, machine: Machine) -> None:
    log().info(f"model     {model}")
    log().info(f"data      {split.root}: {len(split)} {split.name} images")
    log().info(f"precision {machine.precision}")
