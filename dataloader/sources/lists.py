"""Lists of images: files that name every image, its labels, and perhaps its split."""

import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from dataloader.sources.folders import SPLIT_FOLDERS, split_folders, subfolders
from dataloader.sources.label_names import LabelNames, find_label_names
from dataloader.sources.list_formats import LIST_FORMATS, SEPARATOR
from dataloader.splits.split import LineFault, Store
from utils.errors import UserError
from utils.text import counted


class ListedImage(NamedTuple):
    """One line of a list.

    Attributes:
        path: POSIX path, relative to the folder of the list.
        labels: sorted names, each once.
        split: 'train', 'val', 'test', or None where the list does not say.
        place: file and line, for messages.
        group: of the image, such as the object that it shows; '' where the list names none.
    """

    path: str
    labels: tuple[str, ...]
    split: str | None
    place: str
    group: str = ""


@dataclass(frozen=True)
class Listing:
    """The content of one list, or of the lists of a folder.

    Attributes:
        folder: where the paths start.
        images: all lines.
        multi_label: whether an image may have none, one or several labels; else each has exactly one.
        store: what holds the images; None where each is a file.
        faults: lines that are not among the images.
    """

    folder: Path
    images: tuple[ListedImage, ...]
    multi_label: bool
    store: Store | None = None
    faults: tuple[LineFault, ...] = ()


def find_lists(root: Path) -> dict[str, Path]:
    """Return split name -> list for `root`: a file, which gets the name '' (all splits), or a folder with train.csv, val.csv and test.csv.

    In a folder of class folders, a file counts only if its first line is that of a list.

    Raises:
        UserError: two files mean one split.
    """
    if root.is_file():
        return {"": root}
    found: dict[str, Path] = {}
    for path in sorted(root.glob("*")):
        split = SPLIT_FOLDERS.get(path.stem.lower())
        if path.suffix.lower() not in LIST_FORMATS or split is None or not path.is_file():
            continue
        if split in found:
            raise UserError(f"{root} holds both {found[split].name} and {path.name}: keep one of them")
        found[split] = path
    holds_classes = split_folders(root) or len(subfolders(root)) > 1
    if holds_classes and not all(LIST_FORMATS[path.suffix.lower()].recognize(path) for path in found.values()):
        return {}
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def read_lists(files: Mapping[str, Path], *, tolerant: bool = False) -> Listing:
    """Read the lists that `find_lists` found. A line that repeats an earlier one exactly is left out.

    The column says whether an image may have several labels: 'labels' does; 'label' or 'class' means exactly one, unless
    a cell contains a semicolon. Numbers are replaced by names where a table of names is next to the list.

    Args:
        files: split -> list.
        tolerant: whether lines that cannot be used are left out and listed in `faults`.

    Raises:
        UserError: a list cannot be read, or one of its lines cannot be used; file and line are named.
    """
    multi_label = False
    images: list[ListedImage] = []
    faults: list[LineFault] = []
    for split, file in files.items():
        before = len(images) + len(faults)
        multi_label = _read_list(file, split or None, images, faults) or multi_label
        if len(images) + len(faults) == before:
            raise UserError(f"{file} lists no images; {LIST_FORMATS[file.suffix.lower()].form}")
    images = _each_once(images, faults)
    faults += _unlabelled(images, multi_label=multi_label)
    bad = [fault for fault in faults if fault.kind != "double"]
    used = [image for image in images if multi_label or image.labels]
    if bad and (not tolerant or not used):
        _refuse_all(bad)
    folder = next(iter(files.values())).parent
    return Listing(folder, tuple(name_labels(used, find_label_names(folder))), multi_label, faults=tuple(faults))


def _refuse_all(faults: Sequence[LineFault]) -> NoReturn:
    more = len(faults) - 1
    raise UserError(faults[0].message + (f"; {counted(more, 'more line')} cannot be used: --check names all" if more else ""))


def _each_once(images: Sequence[ListedImage], faults: list[LineFault]) -> list[ListedImage]:
    """Return the first line of every image; the others are faults."""
    first: dict[str, ListedImage] = {}
    for image in images:
        earlier = first.setdefault(image.path, image)
        if earlier is image:
            continue
        pairs = {"labels": (earlier.labels, image.labels), "split": (earlier.split, image.split), "group": (earlier.group, image.group)}
        differing = [name for name, (one, other) in pairs.items() if one != other]
        said = f" with another {' and '.join(differing)}".replace("another labels", "other labels") if differing else ""
        message = f"{image.place}: {image.path} is listed twice{said}, first in {earlier.place}"
        faults.append(LineFault("contradiction" if differing else "double", message))
    return list(first.values())


def refuse_empty_labels(images: Sequence[ListedImage], *, multi_label: bool) -> None:
    """Raise UserError when an image has no label although each must have exactly one."""
    if faults := _unlabelled(images, multi_label=multi_label):
        raise UserError(faults[0].message)


def _unlabelled(images: Sequence[ListedImage], *, multi_label: bool) -> list[LineFault]:
    """Return the images without a label, where each must have exactly one."""
    remedy = "give it one, or call the column 'labels' if an image may have none or several"
    empty = [] if multi_label else [image for image in images if not image.labels]
    return [LineFault("label", f"{image.place}: {image.path} has no label; {remedy}") for image in empty]


def name_labels(images: Sequence[ListedImage], table: LabelNames | None) -> Sequence[ListedImage]:
    """Return the images with the names of a table instead of numbers, if every label is a number.

    Raises:
        UserError: the table lacks a number.
    """
    if table is None or not all(label.isdecimal() for image in images for label in image.labels):
        return images
    named = []
    for image in images:
        if unknown := [label for label in image.labels if int(label) not in table.names]:
            raise UserError(f"{image.place}: {image.path} has the class {unknown[0]}, which {table.file} does not name")
        named.append(image._replace(labels=tuple(sorted(table.names[int(label)] for label in image.labels))))
    return named


def join_labels(labels: Sequence[str]) -> str:
    """Return labels as one cell of a CSV file."""
    return SEPARATOR.join(labels)


def is_list_name(name: str) -> bool:
    """Whether a file of this name can be a list."""
    return Path(name).suffix.lower() in LIST_FORMATS


def _read_list(file: Path, split: str | None, images: list[ListedImage], faults: list[LineFault]) -> bool:
    """Add the lines of a list to the images or the faults; return whether it has several labels per image.

    Args:
        file: the list.
        split: by its name.
        images, faults: are appended to.
    """
    multi_label = False
    name, folder = str(file), str(file.parent)
    for record in LIST_FORMATS[file.suffix.lower()].read(file, split):
        multi_label = multi_label or record.multi_label
        labels = tuple(sorted({label.strip() for label in record.labels} - {""}))
        own_split = split if record.split is None else SPLIT_FOLDERS.get(record.split.lower())
        path = posixpath.normpath(record.image) if record.image else ""
        place = f"{name}, line {record.line}"
        if record.split is not None and own_split is None:
            faults.append(LineFault("split", f"{place}: the split is '{record.split}'; write train, val or test"))
        elif not path:
            faults.append(LineFault("missing", f"{place}: there is no image"))
        # Not with pathlib, which is slower than the access to the disk.
        elif not os.path.isfile(os.path.join(folder, path)):
            hint = "; write / between folders" if "\\" in path else ""
            faults.append(LineFault("missing", f"{place}: there is no image {path} in {folder}{hint}"))
        else:
            images.append(ListedImage(path, labels, own_split, place, record.group))
    return multi_label
