"""Boxes in a table: a .csv with a header, a row a box; a row without box is an image on which nothing is."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from utils.errors import UserError

# Column -> what other programs call it.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "image", "filename", "file", "file_name", "image_path", "image_id"),
    "x1": ("x1", "xmin", "left"),
    "y1": ("y1", "ymin", "top"),
    "x2": ("x2", "xmax", "right"),
    "y2": ("y2", "ymax", "bottom"),
    "class": ("class", "label", "name", "class_name"),
}
SPLIT = "split"
WANTED = "path,x1,y1,x2,y2,class"


class CsvRow(NamedTuple):
    """A row: an image, and its box, or nothing.

    Attributes:
        path: as written.
        name: of the class; '' without a box.
        corners: left, top, right, bottom in pixels; zeros without a box.
        split: in the column of that name; '' without one.
        line: in the file.
    """

    path: str
    name: str
    corners: tuple[float, float, float, float]
    split: str
    line: int


def box_columns(header: Sequence[str]) -> dict[str, int] | None:
    """Return column -> its place in a header; None unless it has all that a box needs."""
    names = [name.strip().lower() for name in header]
    found = {}
    for column, words in COLUMNS.items():
        place = next((names.index(word) for word in words if word in names), None)
        if place is None:
            return None
        found[column] = place
    return found | ({SPLIT: names.index(SPLIT)} if SPLIT in names else {})


def is_box_list(file: Path) -> bool:
    """Whether a file is a table of boxes, by its header."""
    if file.suffix.lower() != ".csv" or not file.is_file():
        return False
    try:
        with open(file, encoding="utf-8-sig", newline="") as opened:
            return box_columns(next(csv.reader(opened), [])) is not None
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def read_csv(file: Path, *, faults: list[str]) -> list[CsvRow]:
    """Return the rows of a table.

    Args:
        file: with a header.
        faults: takes a message for every line that cannot be used.

    Raises:
        UserError: the file cannot be read, or its header lacks a column.
    """
    try:
        with open(file, encoding="utf-8-sig", newline="") as opened:
            lines = list(csv.reader(opened))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error
    columns = box_columns(lines[0] if lines else [])
    if columns is None:
        raise UserError(f"{file}, line 1: a table of boxes begins with the header {WANTED}, and perhaps split")
    found, largest = [], 0.0
    for place, cells in enumerate(lines[1:], start=2):
        if not any(map(str.strip, cells)):
            continue
        padded = [*cells, *[""] * (1 + max(columns.values()) - len(cells))]
        path, *texts, name = (padded[columns[column]].strip() for column in COLUMNS)
        split = padded[columns[SPLIT]].strip() if SPLIT in columns else ""
        if path and not name and not any(texts):
            found.append(CsvRow(path, "", (0, 0, 0, 0), split, place))
            continue
        try:
            x1, y1, x2, y2 = map(float, texts)
            if not path or not name or not abs(x1 + y1 + x2 + y2) < float("inf"):
                raise ValueError
        except ValueError:
            faults.append(f"{file}, line {place}: '{','.join(cells)[:60]}' is no box; write {WANTED}, or the path alone: path,,,,,")
            continue
        largest = max(largest, abs(x1), abs(y1), abs(x2), abs(y2))
        found.append(CsvRow(path, name, (x1, y1, x2, y2), split, place))
    if 0 < largest <= 1:
        raise UserError(f"{file}: no box reaches beyond the first pixel: these are shares of the image, and a table holds pixels")
    return found
