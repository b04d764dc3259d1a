"""Lists of images: files that name every image, its labels, and perhaps its split."""

import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dataloader.sources.folders import SPLIT_FOLDERS, split_folders, subfolders
from dataloader.sources.label_names import LabelNames, find_label_names
from dataloader.sources.list_formats import FORMATS, SEPARATOR, refuse
from dataloader.split import Store
from utils.errors import UserError


class ListedImage(NamedTuple):
    """One line of a list.

    Attributes:
        path: POSIX path, relative to the folder of the list.
        labels: sorted names, each once.
        split: 'train', 'val', 'test', or None where the list does not say.
        place: file and line, for messages.
    """

    path: str
    labels: tuple[str, ...]
    split: str | None
    place: str


@dataclass(frozen=True)
class Listing:
    """What one list, or the lists of a folder, say.

    Attributes:
        folder: where the paths start.
        images: all lines.
        several: whether an image may have any number of labels; else each has exactly one.
        store: what holds the images; None where each is a file.
    """

    folder: Path
    images: tuple[ListedImage, ...]
    several: bool
    store: Store | None = None


def find_lists(root: Path) -> dict[str, Path]:
    """Return split name -> list for `root`: a file, which stands for '' (all splits), or a folder of train.csv and its kin.

    Lists in a folder of class folders count only when their first line is that of a list.

    Raises:
        UserError: two files stand for one split.
    """
    if root.is_file():
        return {"": root}
    found: dict[str, Path] = {}
    for path in sorted(root.glob("*")):
        split = SPLIT_FOLDERS.get(path.stem.lower())
        if path.suffix.lower() not in FORMATS or split is None or not path.is_file():
            continue
        if split in found:
            raise UserError(f"{root} holds both {found[split].name} and {path.name}: keep one of them")
        found[split] = path
    holds_classes = split_folders(root) or len(subfolders(root)) > 1
    if holds_classes and not all(FORMATS[path.suffix.lower()].recognize(path) for path in found.values()):
        return {}
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def read_lists(files: Mapping[str, Path]) -> Listing:
    """Read the lists that `find_lists` found.

    The column says whether an image may have several labels: 'labels' does; 'label' or 'class' means exactly one, unless
    a semicolon stands in one of the cells. Numbers are replaced by names where a table of names lies beside the list.

    Raises:
        UserError: a list cannot be read, or one of its lines cannot be used; file and line are named.
    """
    several = False
    images: list[ListedImage] = []
    for split, file in files.items():
        found, plural = _read_list(file, split or None)
        if not found:
            raise UserError(f"{file} lists no images; {FORMATS[file.suffix.lower()].form}")
        several = several or plural
        images += found
    places: dict[str, str] = {}
    for image in images:
        if image.path in places:
            raise UserError(f"{image.place}: {image.path} is listed twice, first in {places[image.path]}")
        places[image.path] = image.place
    refuse_empty_labels(images, several=several)
    folder = next(iter(files.values())).parent
    return Listing(folder, tuple(name_labels(images, find_label_names(folder))), several)


def refuse_empty_labels(images: Sequence[ListedImage], *, several: bool) -> None:
    """Raise UserError when an image without a label is among those that have exactly one each."""
    empty = None if several else next((image for image in images if not image.labels), None)
    if empty is not None:
        remedy = "give it one, or call the column 'labels' if an image may have none or several"
        raise UserError(f"{empty.place}: {empty.path} has no label; {remedy}")


def name_labels(images: Sequence[ListedImage], table: LabelNames | None) -> Sequence[ListedImage]:
    """Return the images with the names of a table in place of numbers, where every label is a number.

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
    return Path(name).suffix.lower() in FORMATS


def _read_list(file: Path, split: str | None) -> tuple[list[ListedImage], bool]:
    """Return the lines of a list, and whether it speaks of several labels; `split` is what the file's name says."""
    several = False
    images: list[ListedImage] = []
    name, folder = str(file), str(file.parent)
    for record in FORMATS[file.suffix.lower()].read(file, split):
        several = several or record.several
        labels = tuple(sorted({label.strip() for label in record.labels} - {""}))
        own_split = split if record.split is None else _read_split(file, record.line, record.split)
        path = _read_path(file, folder, record.line, record.image)
        images.append(ListedImage(path, labels, own_split, f"{name}, line {record.line}"))
    return images, several


def _read_split(file: Path, line: int, cell: str) -> str:
    split = SPLIT_FOLDERS.get(cell.lower())
    if split is None:
        refuse(file, line, f"the split is '{cell}'; write train, val or test")
    return split


def _read_path(file: Path, folder: str, line: int, cell: str) -> str:
    if not cell:
        refuse(file, line, "there is no image")
    path = posixpath.normpath(cell)
    # Not by pathlib, which takes longer than the look at the disk.
    if not os.path.isfile(os.path.join(folder, path)):
        hint = "; write / between folders" if "\\" in path else ""
        refuse(file, line, f"there is no image {path} in {folder}{hint}")
    return path
