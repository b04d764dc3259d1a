"""Lists of images: CSV files that name every image, its labels, and perhaps its split."""

import csv
import io
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from dataloader.sources.folders import SPLIT_FOLDERS, split_folders, subfolders
from utils.errors import UserError, nearest

SUFFIX = ".csv"
SEPARATOR = ";"
LABEL_COLUMNS = ("labels", "label", "class")
COLUMNS = ("image", *LABEL_COLUMNS, "split")
FORM = "the first line is image,labels or image,labels,split"


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
    """

    folder: Path
    images: tuple[ListedImage, ...]
    several: bool


def find_lists(root: Path) -> dict[str, Path]:
    """Return split name -> list for `root`: a CSV file, which stands for '' (all splits), or a folder of train.csv and its kin.

    Lists in a folder of class folders count only when their first line is that of a list.

    Raises:
        UserError: two files stand for one split.
    """
    if root.is_file():
        return {"": root}
    found: dict[str, Path] = {}
    for path in sorted(root.glob("*")):
        split = SPLIT_FOLDERS.get(path.stem.lower())
        if path.suffix.lower() != SUFFIX or split is None or not path.is_file():
            continue
        if split in found:
            raise UserError(f"{root} holds both {found[split].name} and {path.name}: keep one of them")
        found[split] = path
    holds_classes = split_folders(root) or len(subfolders(root)) > 1
    if holds_classes and not all(map(_is_list, found.values())):
        return {}
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def read_lists(files: Mapping[str, Path]) -> Listing:
    """Read the lists that `find_lists` found.

    The header says whether an image may have several labels: 'labels' does; 'label' or 'class' means exactly one, unless
    a semicolon stands in one of the cells.

    Raises:
        UserError: a list cannot be read, or one of its lines cannot be used; file and line are named.
    """
    several = False
    images: list[ListedImage] = []
    for split, file in files.items():
        found, plural = _read_list(file, split or None)
        if not found:
            raise UserError(f"{file} lists no images; {FORM}, then a line an image")
        several = several or plural
        images += found
    places: dict[str, str] = {}
    for image in images:
        if image.path in places:
            raise UserError(f"{image.place}: {image.path} is listed twice, first in {places[image.path]}")
        places[image.path] = image.place
    empty = next((image for image in images if not image.labels), None)
    if empty and not several:
        remedy = "give it one, or call the column 'labels' if an image may have none or several"
        raise UserError(f"{empty.place}: {empty.path} has no label; {remedy}")
    return Listing(next(iter(files.values())).parent, tuple(images), several)


def join_labels(labels: Sequence[str]) -> str:
    """Return labels as one cell of a CSV file."""
    return SEPARATOR.join(labels)


def _read_list(file: Path, split: str | None) -> tuple[list[ListedImage], bool]:
    """Return the lines of a list, and whether it speaks of several labels; `split` is what the file's name says."""
    records = _records(file)
    line, header = next(records, (1, []))
    names = _check_header(file, line, header, split)
    plural = "labels" in names
    images: list[ListedImage] = []
    for line, cells in records:
        if not cells:
            continue
        if len(cells) != len(names):
            _refuse(file, line, f"{len(cells)} cells where the first line has {len(names)}; put quotes around a cell that holds a comma")
        row = dict(zip(names, (cell.strip() for cell in cells), strict=True))
        cell = next(row[name] for name in LABEL_COLUMNS if name in row)
        plural = plural or SEPARATOR in cell
        labels = tuple(sorted({label.strip() for label in cell.split(SEPARATOR)} - {""}))
        own_split = _read_split(file, line, row["split"]) if "split" in row else split
        images.append(ListedImage(_read_path(file, line, row["image"]), labels, own_split, f"{file}, line {line}"))
    return images, plural


def _check_header(file: Path, line: int, header: list[str], split: str | None) -> list[str]:
    names = [cell.strip().lower() for cell in header]
    if not any(names):
        _refuse(file, line, f"there is no header; {FORM}")
    for name in names:
        if name not in COLUMNS:
            _refuse(file, line, f"unknown column '{name}'.{nearest(name, COLUMNS)} {FORM[0].upper()}{FORM[1:]}")
    if len(set(names)) < len(names):
        _refuse(file, line, f"a column stands there twice; {FORM}")
    if "image" not in names or sum(name in LABEL_COLUMNS for name in names) != 1:
        _refuse(file, line, f"a list has one column 'image' and one 'labels' (or 'label', 'class'), not {','.join(names)}")
    if split and "split" in names:
        _refuse(file, line, f"the file's name already says that these are {split} images; leave the column 'split' out")
    return names


def _read_split(file: Path, line: int, cell: str) -> str:
    split = SPLIT_FOLDERS.get(cell.lower())
    if split is None:
        _refuse(file, line, f"the split is '{cell}'; write train, val or test")
    return split


def _read_path(file: Path, line: int, cell: str) -> str:
    if not cell:
        _refuse(file, line, "there is no image")
    path = posixpath.normpath(cell)
    if not (file.parent / path).is_file():
        hint = "; write / between folders" if "\\" in path else ""
        _refuse(file, line, f"there is no image {path} in {file.parent}{hint}")
    return path


def _records(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its last line, cells) of every record of a CSV file."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the list {file}: {error.strerror or error}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(file, data[: error.start].count(b"\n") + 1, "the text is not UTF-8; save it as 'CSV UTF-8'")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        _refuse(file, reader.line_num, f"{error}; quotes stand around a whole cell, and are doubled inside")


def _is_list(file: Path) -> bool:
    """Whether the first line is that of a list."""
    try:
        _, header = next(_records(file), (1, []))
    except UserError:
        return False
    names = {cell.strip().lower() for cell in header}
    return "image" in names and bool(names & set(LABEL_COLUMNS))


def _refuse(file: Path, line: int, what: str) -> NoReturn:
    raise UserError(f"{file}, line {line}: {what}")
