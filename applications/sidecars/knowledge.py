"""Writes what a trained model knows: the probabilities of every image as distill.txt, and the labels beside as label.txt."""

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from applications import assemble
from applications.assemble.seen_images import write_beside
from applications.settings.options import Request
from applications.sidecars.apply import checked_writable, sidecar_folder
from applications.sidecars.split_predictions import SplitPredictions, predict_named_split
from dataloader.sidecars.format import read_facts, write_sidecar
from dataloader.sidecars.knowledge_file import KNOWLEDGE, KNOWLEDGE_PATTERN, LABELS
from utils.distributed import close_world
from utils.errors import UserError
from utils.logs import log

# A small one that takes images of any size.
STUDENT = "mobilenetv3_small"


def run(request: Request) -> int:
    """Write the knowledge of the model of --resume about the split that --knowledge names."""
    machine = assemble.open_machine(request.config, training=False)
    try:
        opinions = predict_named_split(request, request.subject, machine)
        if machine.world.is_first:
            _write(request, opinions)
        return 0
    finally:
        close_world(machine.world)


def _write(request: Request, opinions: SplitPredictions) -> None:
    folder = checked_writable(sidecar_folder(request.config.teach, opinions.split))
    split = opinions.split
    facts = {"teacher": str(opinions.source.resolve()), "split": split.name, "activation": opinions.activation}
    file = choose_file(folder, facts, KNOWLEDGE)
    seen = {**facts, "preprocess": opinions.preprocess.to_dict()}
    write_sidecar(file, opinions.classes, split.paths, opinions.probabilities, facts=seen)
    write_beside(file, opinions.seen)
    competing = split.targets.ndim == 1
    labels = {"teacher": "labels", "split": split.name, "activation": "softmax" if competing else "sigmoid"}
    label_file = choose_file(folder, labels, LABELS)
    write_sidecar(label_file, opinions.classes, split.paths, opinions.targets(), facts=labels)
    if competing:
        right = float((opinions.probabilities.argmax(1) == split.targets).mean())
        log().info(f"teacher   names {right:.2%} of these images rightly, mean probability {mean_confidence(opinions.probabilities):.3f}")
    log().info(f"written   {file} and {label_file}, {len(split)} images")
    if doubt := opinions.doubt():
        log().warning(doubt)
    others = sorted(path.name for path in folder.glob(KNOWLEDGE_PATTERN) if path != file)
    if others:
        log().info(f"beside    {', '.join(others)}: --distill takes the mean of all; remove what should not teach")
    if split.name != "train":
        # Students learn from the training images; what is said of others is for programs of their own.
        return
    more = "" if request.config.teach.sidecar_dir is None else f" --sidecar_dir {quote(str(folder))}"
    log().info(f"next: python main.py {opinions.flags} --distill{more} --arch {STUDENT}")


def mean_confidence(probabilities: np.ndarray) -> float:
    """Return the mean of the largest probability of every row (N, C): near one, a teacher tells little more than the labels do."""
    return float(probabilities.max(1).mean())


def choose_file(folder: Path, facts: Mapping[str, Any], name: str) -> Path:
    """Return the file of the same teacher and split, to be overwritten, or the first free name: distill.txt, distill-2.txt, ..."""
    stem, suffix = Path(name).stem, Path(name).suffix
    for path in sorted(folder.glob(f"{stem}*{suffix}")):
        if _says(path, facts):
            return path
    number, path = 1, folder / name
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


def _says(path: Path, facts: Mapping[str, Any]) -> bool:
    try:
        found = read_facts(path)
    except UserError:
        return False
    return all(found.get(name) == facts[name] for name in ("teacher", "split"))
