"""A model to be asked, whatever it is read from: a checkpoint, or a file that was exported from one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from applications import assemble
from applications.assemble.seen_images import read_seen
from applications.settings.options import LossOptions, Request, RunConfig
from applications.tasks import TASKS
from applications.trained.checkpoint import Trained, check_fold, load_trained, same_data
from applications.trained.exported import PROBABILITIES, Exported, ExportedAnswers, ExportedNetwork, is_exported, load_exported
from utils.checkpoint import BEST, LAST, load_checkpoint
from utils.errors import UserError
from utils.files import sha256_of

# What a file has in itself.
INSIDE = ("image_size", "resize", "criterion", "precision")


def load_model(place: str, request: Request, device: torch.device) -> Trained:
    """Read a model: a run, a checkpoint, or an exported file.

    Raises:
        UserError: it cannot be read, or a flag of the request asks for what it cannot do.
    """
    if is_exported(place):
        return load_file(Path(place), request, device)
    return load_trained(place, request.given, request.action, device)


def load_file(path: Path, request: Request, device: torch.device) -> Trained:
    """Read an exported file with its own runtime. Its images are those of its checkpoint, where that lies beside it still.

    Raises:
        UserError: the file is damaged, its runtime is missing, or a flag asks for what it cannot do.
    """
    exported = load_exported(path, device)
    check_flags(request, exported)
    facts, found = exported.facts, find_source(exported)
    source, content = found or (None, {})
    config = request.config
    if content:
        config = RunConfig.from_dict(content["config"], source=str(source)).override(request.given)
        check_fold(config.data.fold, content["config"].get("fold"), path)
    elif config.data.fold is not None:
        raise UserError(f"--fold {config.data.fold}: {path} does not know the folds of its training; leave --fold out")
    config = replace(
        config,
        model=replace(config.model, arch=facts.arch),
        data=replace(config.data, image_size=facts.preprocess.image_size, resize=facts.preprocess.resize),
        # Nothing is learned; the plain loss tells how far the answers are off.
        loss=LossOptions(criterion="softmax" if facts.activation == "softmax" else "bce"),
    )
    assemble.refuse_unable(TASKS.resolve(facts.task), {**config.to_dict(), request.action: True})
    split_file = path.parent / "split.csv"
    return Trained(
        path=path,
        task=facts.task,
        config=config,
        classes=facts.classes,
        preprocess=facts.preprocess,
        model=(ExportedNetwork if facts.outputs[0] == PROBABILITIES else ExportedAnswers)(exported).eval(),
        averaging=content.get("averaging"),
        epoch=content.get("epoch", 0),
        calibration=facts.calibration,
        split_file=split_file if source and split_file.is_file() else None,
        other_data=bool(content) and "data" in request.given and not same_data(request.given["data"], content["config"]["data"]),
        seen=read_seen(content),
        exported=exported,
        knows_images=bool(content) or "data" in request.given,
    )


def check_flags(request: Request, exported: Exported) -> None:
    """Raise UserError for flags that an exported file cannot follow."""
    path, facts = exported.path, exported.facts
    evaluation = request.config.evaluation
    if evaluation.calibrate:
        raise UserError(
            f"--calibrate: {path} is an exported file, whose temperature is part of it; calibrate its run, then export that again"
        )
    if evaluation.tta:
        raise UserError(f"--tta: {path} is an exported file, which looks at an image once; leave --tta out, or give its run")
    for name in INSIDE:
        if name in request.typed:
            raise UserError(f"--{name}: {path} is an exported file, which has this in itself; leave it out, or give its run")
    known: dict[str, Any] = {"arch": facts.arch, "num_classes": len(facts.classes)}
    for name, value in known.items():
        if name in request.typed and request.given[name] != value:
            raise UserError(f"--{name} {request.given[name]}: {path} has {value}; leave it out")


def find_source(exported: Exported) -> tuple[Path, dict[str, Any]] | None:
    """Return the checkpoint that a file was exported from, and its content, where it lies beside the file unchanged."""
    facts = exported.facts
    for name in dict.fromkeys((facts.source.partition(",")[0], BEST, LAST)):
        place = exported.path.parent / name
        if facts.checkpoint_sha256 and name and place.is_file() and sha256_of(place) == facts.checkpoint_sha256:
            return place, load_checkpoint(place)
    return None
