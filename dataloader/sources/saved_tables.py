"""Data sets that the Hugging Face package `datasets` saved with save_to_disk: Arrow tables of images and labels."""

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataloader.images.read import ImageError, file_status, read_file
from dataloader.sources.folders import SPLIT_FOLDERS
from dataloader.sources.lists import ListedImage, Listing, refuse_empty_labels
from dataloader.splits.split import Stamp
from utils.errors import UserError

LABEL_COLUMNS = ("label", "labels", "class", "fine_label")
# Rows of a table that are read at a time.
PORTION = 10_000


@dataclass(frozen=True, eq=False)
class TableStore:
    """Reads images from tables.

    Attributes:
        folder: of the data set.
        tables: part of the path -> its table.
        column: of the images.
        sizes: part of the path -> bytes of every image, int64; -1 where it is a file of its own.
        changed_ns: time of the last change of the newest table, in ns.
    """

    folder: Path
    tables: Mapping[str, Any]
    column: str
    sizes: Mapping[str, np.ndarray]
    changed_ns: int

    def read_bytes(self, file: str) -> bytes:
        """Return the bytes of an image that is named FOLDER/PART/ROW."""
        part, row = self._place(file)
        cell = self.tables[part][row][self.column]
        if cell is None:
            raise ImageError(file, "the cell is empty")
        if cell["bytes"] is not None:
            return cell["bytes"]
        try:
            return read_file(cell["path"])
        except ImageError as error:
            raise ImageError(file, f"{cell['path']}: {error.reason}") from error

    def stamp(self, file: str) -> Stamp:
        """Return the size of an image, and when the tables were changed before they were opened; no image is read."""
        part, row = self._place(file)
        size = int(self.sizes[part][row])
        if size >= 0:
            return Stamp(size, self.changed_ns)
        cell = self.tables[part][row][self.column]
        if cell is None:
            raise ImageError(file, "the cell is empty")
        try:
            return Stamp(file_status(cell["path"]).st_size, self.changed_ns)
        except ImageError as error:
            raise ImageError(file, f"{cell['path']}: {error.reason}") from error

    def _place(self, file: str) -> tuple[str, int]:
        """Return the part and the row of an image that is named FOLDER/PART/ROW."""
        part, row = os.path.relpath(file, self.folder).rsplit("/", 1)
        return part, int(row)


def is_saved_table(root: Path) -> bool:
    """Whether `root` is such a folder: one table, or one for every split."""
    return (root / "dataset_dict.json").is_file() or ((root / "state.json").is_file() and (root / "dataset_info.json").is_file())


def read_saved_table(root: Path) -> Listing:
    """Read the labels of all images; the images are read later, from the tables.

    Raises:
        UserError: the package is missing, or there is no column of images or of labels.
    """
    try:
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise UserError(f"{root} was saved by the package datasets, which is not installed: pip install datasets") from error
    try:
        opened = datasets.load_from_disk(str(root))
    except Exception as error:  # Damaged tables raise errors from many packages.
        raise UserError(f"{root}: datasets cannot read it ({' '.join(str(error).split())})") from error
    parts = dict(opened) if isinstance(opened, datasets.DatasetDict) else {"all": opened}
    first = next(iter(parts.values()))
    column = next((name for name, kind in first.features.items() if isinstance(kind, datasets.Image)), None)
    label = next((name for name in LABEL_COLUMNS if name in first.features), None)
    if column is None or label is None:
        raise UserError(
            f"{root} has the columns {', '.join(first.features)}; needed are one of images, and one of {', '.join(LABEL_COLUMNS)}"
        )
    images: list[ListedImage] = []
    tables, sizes, multi_label = {}, {}, False
    for part, table in parts.items():
        split = None if len(parts) == 1 and part == "all" else SPLIT_FOLDERS.get(part.lower())
        if split is None and part != "all":
            raise UserError(f"{root} has the split '{part}'; known are {', '.join(SPLIT_FOLDERS)}: save it without that one")
        tables[part] = table.cast_column(column, datasets.Image(decode=False)).select_columns([column])
        sizes[part] = _sizes(tables[part], column)
        names = _names(table.features[label])
        groups = table["group"] if "group" in table.features else [""] * len(table)
        for row, (value, group) in enumerate(zip(table[label], groups, strict=True)):
            values = value if isinstance(value, list) else [value]
            multi_label = multi_label or isinstance(value, list)
            found = {names[each] if names and isinstance(each, int) else str(each) for each in values if each is not None}
            place = f"{part}/{row:08d}"
            images.append(ListedImage(place, tuple(sorted(found)), split, f"{root}/{place}", "" if group is None else str(group)))
    refuse_empty_labels(images, multi_label=multi_label)
    changed = max((file.stat().st_mtime_ns for file in root.rglob("*.arrow")), default=0)
    return Listing(root, tuple(images), multi_label, TableStore(root, tables, column, sizes, changed))


def _sizes(table: Any, column: str) -> np.ndarray:
    """Return the size in bytes of every image of a table, int64, from the offsets alone, without reading the images."""
    compute = importlib.import_module("pyarrow.compute")
    arrow = table.with_format("arrow")
    cells = (arrow[first : first + PORTION].column(column) for first in range(0, len(table), PORTION))
    lengths = (compute.binary_length(compute.struct_field(part, "bytes")).to_pylist() for part in cells)
    return np.array([-1 if size is None else size for part in lengths for size in part], dtype=np.int64)


def _names(feature: Any) -> list[str] | None:
    """Return the names of a column of classes, or of lists of them."""
    inner = getattr(feature, "feature", feature)
    return getattr(inner, "names", None)
