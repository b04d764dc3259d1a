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

from applications.assemble import Machine
from applications.assemble.seen_images import KEY, Overlap, overlap
from applications.report.material import GROUPS
from applications.settings.options import Request
from applications.tasks import TASKS
from applications.tasks.labels import decide
from applications.trained.any_model import load_model
from applications.trained.checkpoint import build_trained_task, open_held_out
from applications.trained.exported import is_exported, load_exported
from applications.trained.inference import predict_split
from dataloader.sources.lists import SEPARATOR
from utils.checkpoint import BEST, find_checkpoint, load_checkpoint
from utils.errors import UserError, shorten
from utils.logs import log

PREDICTIONS, METRICS = "predictions.csv", "metrics.json"


class OtherImagesError(UserError):
    """Two models were measured on other images, or with other labels: nothing follows from their figures."""


@dataclass(frozen=True, eq=False)
class ModelAnswers:
    """What one model says of N images.

    Attributes:
        name: how people call the model.
        source: the file that it was read from.
        several: whether an image has any number of labels.
        classes: names, in the order of the columns.
        root: folder of the data.
        files: paths that can be opened, sorted.
        truth: bool (N, C).
        named: what the model answers, bool (N, C).
        probabilities: (N, C).
        seen: how many of the images were trained on; None where that is not known.
        groups: name of the group of every image, such as the object it shows, '' for a group of its own; empty where none are known.
    """

    name: str
    source: str
    several: bool
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
        """The paths from the root of the data, so that a data set that was moved is still the same."""
        root = os.path.abspath(self.root)
        return [os.path.relpath(os.path.abspath(file), root) for file in self.files]

    @property
    def right(self) -> np.ndarray:
        """Whether the answer to each image is right in all its labels, (N,)."""
        return (self.truth == self.named).all(1)

    def losses(self) -> np.ndarray:
        """Return the cross entropy of each image, (N,): of its class, or summed over labels."""
        sure = np.clip(self.probabilities, 1e-7, 1 - 1e-7)
        if self.several:
            return -np.where(self.truth, np.log(sure), np.log(1 - sure)).sum(1)
        return -np.log(sure[self.truth])


class Kind(NamedTuple):
    """What a model answers with: its name, whether with any number of labels, and its classes."""

    name: str
    several: bool
    classes: tuple[str, ...]


def kind_of(place: str) -> Kind:
    """Return what the model of an evaluation folder, a run, a checkpoint or an exported file answers with; nothing is predicted.

    Raises:
        UserError: the place holds none of these.
    """
    folder = Path(place)
    if (folder / PREDICTIONS).is_file():
        found = _from_folder(folder)
        return Kind(found.name, found.several, found.classes)
    if is_exported(place):
        facts = load_exported(folder, torch.device("cpu")).facts
        return Kind(_name(folder), _gives_several(facts.task), facts.classes)
    content = load_checkpoint(find_checkpoint(place, BEST))
    return Kind(_name(folder), _gives_several(content["task"]), tuple(content["classes"]))


def _gives_several(task: str) -> bool:
    """Whether an image may get any number of labels by a row of TASKS."""
    return not TASKS.resolve(task).target.is_one_class


def refuse_unlike(first: Kind, other: Kind) -> None:
    """Raise UserError where two models answer with other classes, or one with a class and the other with labels."""
    pair = f"{first.name} and {other.name}"
    if first.several != other.several:
        raise UserError(f"{pair} cannot be compared: one answers with a class, the other with any number of labels")
    if set(first.classes) != set(other.classes):
        odd = sorted(set(first.classes) ^ set(other.classes))
        raise UserError(f"{pair} have different classes ({shorten(tuple(odd), 4)} in one alone); compare models of equal classes")


def _name(folder: Path) -> str:
    return folder.name if folder.is_dir() else f"{folder.parent.name}/{folder.name}"


def read_answers(request: Request, place: str, machine: Machine) -> ModelAnswers:
    """Return the answers of a model: those that an evaluation folder holds, or fresh ones of a run, a checkpoint or an exported file.

    Raises:
        UserError: the place holds neither, or another kind of table.
    """
    folder = Path(place)
    if (folder / PREDICTIONS).is_file():
        return _from_folder(folder)
    given = {**request.given, "resume": place}
    one = replace(request, given=given, config=request.config.override({"resume": place}))
    trained = load_model(one, machine.device)
    split = open_held_out(trained, ("test", "val"))
    log().info(f"predict   {len(split)} {split.name} images with {trained.describe()}")
    prediction = predict_split(trained, split, build_trained_task(trained, machine.device), machine)
    several = _gives_several(trained.task)
    truth = prediction.targets >= 0.5 if several else decide_targets(prediction.targets.numpy(), len(trained.classes))
    named = decide(prediction.probabilities, trained.thresholds).numpy()
    indices = prediction.indices.tolist()
    files = [split.file(index) for index in indices]
    return _ordered(
        ModelAnswers(
            _name(folder),
            str(trained.path),
            several,
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


def decide_targets(targets: np.ndarray, count: int) -> np.ndarray:
    """Return class indices (N,) as bool (N, count)."""
    return targets[:, None] == np.arange(count)


def _from_folder(folder: Path) -> ModelAnswers:
    file = folder / PREDICTIONS
    try:
        facts = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        with file.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
            header, *rows = _parsed(csv.reader(lines))
        several, root = _gives_several(facts["task"]), facts["data"]
        seen = Overlap(**facts[KEY]) if facts.get(KEY) else None
        classes = tuple(header[3:])
        shares = np.stack([row[3] for row in rows]) if rows else np.empty((0, len(classes)), dtype=np.float32)
        columns = {name: number for number, name in enumerate(classes)}
        truth, named = (_flags([row[column] for row in rows], columns, several) for column in (1, 2))
        files = tuple(row[0] for row in rows)
        groups = _groups_of(folder / GROUPS, files)
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise UserError(f"{file} cannot be read with the metrics.json beside it ({_reason(error)}); evaluate that run again") from error
    return _ordered(
        ModelAnswers(f"{folder.parent.name}/{folder.name}", str(file), several, classes, root, files, truth, named, shares, seen, groups)
    )


def _parsed(rows: Iterator[list[str]]) -> Iterator[list[Any]]:
    """Yield the header as it is, then path, truth, answer and probabilities, float32 (C,), of each row: text takes far more."""
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


def _flags(cells: Sequence[str], columns: dict[str, int], several: bool) -> np.ndarray:
    flags = np.zeros((len(cells), len(columns)), dtype=bool)
    for row, cell in zip(flags, cells, strict=True):
        names = cell.split(SEPARATOR) if several else [cell]
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
        UserError: the two answer different questions: other classes.
        OtherImagesError: they were measured on other images, or with other labels.
    """
    pair = f"{first.name} and {other.name}"
    refuse_unlike(*(Kind(each.name, each.several, each.classes) for each in (first, other)))
    mine, theirs = first.images, other.images
    if mine != theirs:
        odd = sorted(set(mine) ^ set(theirs))
        example = f"{len(odd)} are in one alone, such as {odd[0]}" if odd else "their paths differ"
        raise OtherImagesError(f"{pair} were measured on different images ({example}); give both the same --data and --split")
    columns = [other.classes.index(name) for name in first.classes]
    truth = other.truth[:, columns]
    differing = np.flatnonzero((truth != first.truth).any(1))
    if len(differing):
        raise OtherImagesError(
            f"{pair} were measured with different labels for {len(differing)} images, such as {mine[differing[0]]}; evaluate again"
        )
    return replace(other, classes=first.classes, truth=truth, named=other.named[:, columns], probabilities=other.probabilities[:, columns])
