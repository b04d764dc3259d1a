"""Which image is in which split, as a run saves it, held against the images that are there now."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dataloader.sources.lists import join_labels
from dataloader.splits.catalog import Catalog
from dataloader.splits.holdout import SplitLine, read_split_file, write_split_file
from dataloader.splits.split import Split
from utils.errors import UserError
from utils.text import counted


def save_split(catalog: Catalog, path: Path) -> None:
    """Write which image belongs to which split, as CSV: path, class, split."""
    write_split_file(
        (
            SplitLine(image, label_cell(catalog, target), name)
            for name, split in catalog.splits.items()
            for image, target in zip(split.paths, split.targets, strict=True)
        ),
        path,
    )


def read_saved_split(split_file: Path, labels: Mapping[str, str], *, where: str) -> tuple[list[SplitLine], list[str]]:
    """Return the lines of a split file for path -> label, and notes; `where` is the part of the message on what the data has instead."""
    entries = read_split_file(split_file)
    missing = [entry.path for entry in entries if entry.path not in labels]
    if missing:
        raise UserError(f"{split_file} names {gone(missing)}; restore the missing files, or remove their lines from that file")
    moved = [entry for entry in entries if labels[entry.path] != entry.label]
    if moved:
        raise UserError(f"{split_file}: {moved[0].path} is listed as class {moved[0].label} but {where.format(labels[moved[0].path])}")
    new = sorted(set(labels) - {entry.path for entry in entries})
    return entries, not_used(new, split_file)


def not_used(new: Sequence[str], split_file: Path) -> list[str]:
    """Return a note about images that came after the split was saved."""
    return [f"{counted(len(new), 'image is', 'images are')} not in {split_file} and not used, such as {new[0]}"] if new else []


def gone(missing: Sequence[str]) -> str:
    """Return a phrase about images that are missing."""
    return f"{counted(len(missing), 'image that is', 'images that are')} not there, such as {missing[0]}"


def label_cell(catalog: Catalog, target: np.ndarray | np.int64) -> str:
    """Return the name of a class, or those of several labels."""
    return join_labels(sorted(label_names(catalog, target)))


def label_names(catalog: Catalog, target: np.ndarray | np.int64) -> list[str]:
    """Return the names of an image's labels."""
    return [catalog.classes[number] for number in catalog.target.class_numbers(target)]


def members_of(split: Split) -> Iterator[tuple[str, np.ndarray | np.int64]]:
    return zip(split.paths, split.targets, strict=True)
