"""The answers of a model to a set of images, from the model itself or from the predictions.csv of an evaluation."""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from applications.assemble import Machine, refuse_unable
from applications.assemble.seen_images import TRAINED_ON, Overlap, overlap
from applications.report.measured import GROUPS
from applications.settings.options import Request
from applications.tasks import TASKS
from applications.tasks.label_answers import decide
from applications.trained.any_model import load_model
from applications.trained.checkpoint import open_held_out
from applications.trained.exported import is_exported, load_exported
from applications.trained.inference import predict_split
from applications.trained.trained_task import build_label_task
from dataloader.sources.lists import SEPARATOR
from utils.checkpoint import BEST, find_checkpoint, load_checkpoint
from utils.errors import UserError, shorten
from utils.logs import log

PREDICTIONS, METRICS = "predictions.csv", "metrics.json"


class OtherImagesError(UserError):
    """Two models were measured on different images, or with different labels, so they cannot be compared."""


@dataclass(frozen=True, eq=False)
class ModelAnswers:
    """The answers of one model to N images.

    Attributes:
        name: of the model, for people.
        source: the file that it was read from.
        multi_label: whether an image has several labels.
        classes: names, in the order of the columns.
        root: folder of the data.
        files: paths that can be opened, sorted.
        truth: bool (N, C).
        named: the answers, bool (N, C).
        probabilities: (N, C).
        seen: how many of the images were trained on; None where that is not known.
        groups: name of the group of every image, such as the object it shows, '' for a group of its own; empty where none are known.
    """

    name: str
    source: str
    multi_label: bool
    classes: tuple[str, ...]
    root: str
    files: tuple[str, ...]
    truth: np.ndarray
    named: np.ndarray
    probabilities: np.ndarray
    seen: Overlap | None = None
    groups: tuple[str, ...] = ()

    @property
    def images(self) -> list[str]:
        """The paths relative to the root of the data, so that a data set may have been moved."""
        root = os.path.abspath(self.root)
        return [os.path.relpath(os.path.abspath(file), root) for file in self.files]

    @property
    def right(self) -> np.ndarray:
        """Whether the answer to each image is right in all its labels, (N,)."""
        return (self.truth == self.named).all(1)

    def losses(self) -> np.ndarray:
        """Return the cross entropy of each image, (N,): of its class, or summed over labels."""
        sure = np.clip(self.probabilities, 1e-7, 1 - 1e-7)
        if self.multi_label:
            return -np.where(self.truth, np.log(sure), np.log(1 - sure)).sum(1)
        return -np.log(sure[self.truth])


class AnswerKind(NamedTuple):
    """The kind of answers of a model: its name, whether it gives several labels, and its classes."""

    name: str
    multi_label: bool
    classes: tuple[str, ...]


def task_of(place: str) -> str:
    """Return the task of the model of an evaluation folder, a run, a checkpoint or an exported file.

    Raises:
        UserError: the place holds none of these.
    """
    folder = Path(place)
    if (folder / PREDICTIONS).is_file():
        try:
            return json.loads((folder / METRICS).read_text(encoding="utf-8"))["task"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{folder / METRICS} cannot be read ({_reason(error)}); evaluate that run again") from error
    if is_exported(place):
        return load_exported(folder, torch.device("cpu")).facts.task
    return load_checkpoint(find_checkpoint(place, BEST))["task"]


def kind_of(place: str) -> AnswerKind:
    """Return what the model of an evaluation folder, a run, a checkpoint or an exported file answers with; nothing is predicted.

    Raises:
        UserError: the place holds none of these.
    """
    folder = Path(place)
    if (folder / PREDICTIONS).is_file():
        found = _from_folder(folder)
        return AnswerKind(found.name, found.multi_label, found.classes)
    if is_exported(place):
        facts = load_exported(folder, torch.device("cpu")).facts
        return AnswerKind(_name(folder), _is_multi_label(facts.task), facts.classes)
    content = load_checkpoint(find_checkpoint(place, BEST))
    return AnswerKind(_name(folder), _is_multi_label(content["task"]), tuple(content["classes"]))


def _is_multi_label(task: str) -> bool:
    """Whether a row of TASKS gives an image several labels; raise UserError for one whose models are not compared."""
    kind = TASKS.resolve(task)
    refuse_unable(kind, {"compare": True})
    return not kind.target.is_one_class


def refuse_unlike(first: AnswerKind, other: AnswerKind) -> None:
    """Raise UserError where two models have different classes, or only one of them gives several labels."""
    pair = f"{first.name} and {other.name}"
    if first.multi_label != other.multi_label:
        raise UserError(f"{pair} cannot be compared: one answers with a class, the other with several labels")
    if set(first.classes) != set(other.classes):
        odd = sorted(set(first.classes) ^ set(other.classes))
        raise UserError(f"{pair} have different classes ({shorten(tuple(odd), 4)} in only one of them); compare models with equal classes")


def _name(folder: Path) -> str:
    return folder.name if folder.is_dir() else f"{folder.parent.name}/{folder.name}"


def read_answers(request: Request, place: str, machine: Machine) -> ModelAnswers:
    """Return the answers of a model: those that an evaluation folder holds, or fresh ones of a run, a checkpoint or an exported file.

    Raises:
        UserError: the place holds neither, or its table cannot be read.
    """
    folder = Path(place)
    if (folder / PREDICTIONS).is_file():
        return _from_folder(folder)
    trained = load_model(place, request, machine.device)
    split = open_held_out(trained, ("test", "val"))
    log().info(f"predict   {len(split)} {split.name} images with {trained.describe()}")
    prediction = predict_split(trained, split, build_label_task(trained, machine.device), machine)
    multi_label = _is_multi_label(trained.task)
    truth = prediction.targets >= 0.5 if multi_label else prediction.targets.numpy()[:, None] == np.arange(len(trained.classes))
    named = decide(prediction.probabilities, trained.calibration.thresholds).numpy()
    indices = prediction.indices.tolist()
    files = [split.file(index) for index in indices]
    return _ordered(
        ModelAnswers(
            _name(folder),
            str(trained.path),
            multi_label,
            trained.classes,
            str(split.root),
            tuple(files),
            np.asarray(truth),
            named,
            prediction.probabilities.numpy(),
            overlap(trained.seen, split),
            tuple(split.groups[index] for index in indices) if split.groups else (),
        )
    )


def _from_folder(folder: Path) -> ModelAnswers:
    file = folder / PREDICTIONS
    try:
        facts = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        with file.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
            header, *rows = _parsed(csv.reader(lines))
        multi_label, root = _is_multi_label(facts["task"]), facts["data"]
        seen = Overlap(**facts[TRAINED_ON]) if facts.get(TRAINED_ON) else None
        classes = tuple(header[3:])
        shares = np.stack([row[3] for row in rows]) if rows else np.empty((0, len(classes)), dtype=np.float32)
        columns = {name: number for number, name in enumerate(classes)}
        truth, named = (_flags([row[column] for row in rows], columns, multi_label) for column in (1, 2))
        files = tuple(row[0] for row in rows)
        groups = _groups_of(folder / GROUPS, files)
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise UserError(f"{file} cannot be read with the metrics.json next to it ({_reason(error)}); evaluate that run again") from error
    return _ordered(
        ModelAnswers(
            f"{folder.parent.name}/{folder.name}", str(file), multi_label, classes, root, files, truth, named, shares, seen, groups
        )
    )


def _parsed(rows: Iterator[list[str]]) -> Iterator[list[Any]]:
    """Yield the header, then path, truth, answer and probabilities, float32 (C,), of each row, which takes far less memory than text."""
    header = next(rows, [])
    yield header
    for row in rows:
        shares = np.array(row[3:], dtype=np.float32)
        if len(row) != len(header):
            raise ValueError(f"a row of {len(row)} cells")
        yield [*row[:3], shares]


def _groups_of(file: Path, files: Sequence[str]) -> tuple[str, ...]:
    if not file.is_file():
        return ()
    with file.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
        named = {row["image"]: row["group"] for row in csv.DictReader(lines)}
    return tuple(named[image] for image in files)


def _reason(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:100]


def _flags(cells: Sequence[str], columns: dict[str, int], multi_label: bool) -> np.ndarray:
    flags = np.zeros((len(cells), len(columns)), dtype=bool)
    for row, cell in zip(flags, cells, strict=True):
        names = cell.split(SEPARATOR) if multi_label else [cell]
        row[[columns[name] for name in names if name]] = True
    return flags


def _ordered(answers: ModelAnswers) -> ModelAnswers:
    order = np.argsort(np.array(answers.files, dtype=object), kind="stable")
    files, groups = (tuple(each[index] for index in order.tolist()) if each else () for each in (answers.files, answers.groups))
    sorted_rows = {name: getattr(answers, name)[order] for name in ("truth", "named", "probabilities")}
    return replace(answers, files=files, groups=groups, **sorted_rows)


def aligned(first: ModelAnswers, other: ModelAnswers) -> ModelAnswers:
    """Return `other` with its classes in the order of `first`.

    Raises:
        UserError: they have different classes.
        OtherImagesError: they were measured on different images, or with different labels.
    """
    pair = f"{first.name} and {other.name}"
    refuse_unlike(*(AnswerKind(each.name, each.multi_label, each.classes) for each in (first, other)))
    mine, theirs = first.images, other.images
    if mine != theirs:
        odd = sorted(set(mine) ^ set(theirs))
        example = f"{len(odd)} are in only one of them, such as {odd[0]}" if odd else "their paths differ"
        raise OtherImagesError(f"{pair} were measured on different images ({example}); give both the same --data and --split")
    columns = [other.classes.index(name) for name in first.classes]
    truth = other.truth[:, columns]
    differing = np.flatnonzero((truth != first.truth).any(1))
    if len(differing):
        raise OtherImagesError(
            f"{pair} were measured with different labels for {len(differing)} images, such as {mine[differing[0]]}; evaluate again"
        )
    return replace(other, classes=first.classes, truth=truth, named=other.named[:, columns], probabilities=other.probabilities[:, columns])
