"""Probabilities of teachers for training images: `distill*.txt`, which --knowledge writes and --distill reads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dataloader.batch.targets import dense_array
from dataloader.sidecars.format import check_classes, read_sidecar
from dataloader.splits.catalog import name_some
from dataloader.splits.split import Split
from utils.errors import UserError
from utils.logs import log

KNOWLEDGE = "distill.txt"
LABELS = "label.txt"
KNOWLEDGE_PATTERN = "distill*.txt"
# Tolerance for the sum of softmax probabilities, for files with rounded numbers.
ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class TeacherPredictions:
    """The probabilities of one teacher for some images.

    Attributes:
        file: where it was read.
        teacher: its name.
        paths: N images.
        probabilities: float64 (N, C).
    """

    file: Path
    teacher: str
    paths: tuple[str, ...]
    probabilities: np.ndarray


def find_knowledge(folder: Path) -> list[Path]:
    """Return the files of teachers in a folder, by name.

    Raises:
        UserError: there are none.
    """
    files = sorted(folder.glob(KNOWLEDGE_PATTERN))
    if not files:
        raise UserError(
            f"there is no {KNOWLEDGE_PATTERN} in {folder}; python main.py --knowledge train --resume TEACHER writes {KNOWLEDGE}"
        )
    return files


def read_knowledge(file: Path, classes: Sequence[str], *, competing: bool, multi_label: bool = False) -> TeacherPredictions:
    """Read the probabilities of a teacher.

    Args:
        file: a sidecar with one column per class.
        classes: what the columns must be, in this order.
        competing: whether the loss makes classes compete (softmax): rows of a sigmoid teacher are then scaled to sum to one.
        multi_label: whether images have several labels.

    Raises:
        UserError: the classes differ, or a row holds no probabilities; file and line are named.
    """
    sidecar = read_sidecar(file)
    if not sidecar.headed and len(sidecar.columns) == len(classes):
        log().info(f"          {file} has no header: its columns are read as the classes in their order, {name_some(classes)}")
    else:
        check_classes(sidecar.columns, classes, source=str(file))
    activation = sidecar.facts.get("activation", "sigmoid" if multi_label else "softmax")
    if activation not in ("softmax", "sigmoid"):
        raise UserError(f"{file}: the activation is '{activation}'; write softmax or sigmoid")
    if multi_label and activation == "softmax":
        raise UserError(f"{file} is from a teacher with one label per image, but this data has several; use a teacher trained on such data")
    values = sidecar.values
    sums = values.sum(1)
    for row in np.flatnonzero(((values < 0) | (values > 1 + ROUNDING)).any(1)).tolist():
        sidecar.refuse(row, "a probability lies outside 0 to 1")
    if activation == "softmax":
        for row in np.flatnonzero(np.abs(sums - 1) > ROUNDING).tolist():
            sidecar.refuse(
                row, f"the probabilities sum to {sums[row]:.6g}, not to 1; write '# activation: \"sigmoid\"' above if they need not"
            )
    elif competing:
        for row in np.flatnonzero(sums <= 0).tolist():
            sidecar.refuse(row, "the probabilities sum to 0; leave the line out")
        values = values / sums[:, None]
    return TeacherPredictions(file, str(sidecar.facts.get("teacher", file.name)), sidecar.paths, values)


def with_knowledge(split: Split, teachers: Sequence[TeacherPredictions], num_classes: int) -> tuple[Split, list[str]]:
    """Return the split with the mean of its teachers as soft targets, and the images without a teacher, which keep their label.

    Targets become float32 (N, num_classes).
    """
    dense = dense_array(split.targets, num_classes)
    places = {path: place for place, path in enumerate(split.paths)}
    sums, counts = np.zeros((len(split), num_classes)), np.zeros(len(split), dtype=np.int64)
    for teacher in teachers:
        rows = [(places[path], row) for row, path in enumerate(teacher.paths) if path in places]
        if rows:
            where, which = map(list, zip(*rows, strict=True))
            sums[where] += teacher.probabilities[which]
            counts[where] += 1
    known = counts > 0
    targets = np.where(known[:, None], sums / np.maximum(counts, 1)[:, None], dense).astype(np.float32)
    return replace(split, targets=targets), [split.paths[index] for index in np.flatnonzero(~known).tolist()]
