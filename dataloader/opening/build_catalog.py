"""Catalogs built of paths and names of labels. Classes are never silently renumbered."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dataloader.splits.catalog import Catalog, Origin, lacks, name_some
from dataloader.splits.split import SPLIT_NAMES, Split, Store
from dataloader.targets.label import Labels
from utils.errors import UserError, nearest


def build_catalog(
    root: Path,
    found: Mapping[str, Mapping[str, list[str]]],
    classes: Sequence[str] | None,
    *,
    notes: list[str],
    origin: Origin,
    folder: Path | None = None,
    store: Store | None = None,
) -> Catalog:
    """Return the catalog of split -> class -> paths; these start from `folder`, or from root.

    Raises:
        UserError: a class is unknown to training or the model.
    """
    names = list(classes) if classes is not None else sorted(found.get("train", next(iter(found.values()))))
    notes = list(notes)
    splits = {}
    for split in (split for split in SPLIT_NAMES if split in found):
        members = found[split]
        unknown = [name for name in members if name not in names]
        if unknown:
            raise UserError(unknown_class(str(root), split, unknown, names, given=classes is not None))
        missing = [name for name in names if not members.get(name)]
        if missing:
            notes.append(lacks(split, missing))
        pairs = [(path, target) for target, name in enumerate(names) for path in members.get(name, [])]
        targets = np.array([target for _, target in pairs], dtype=np.int64)
        splits[split] = Split(split, folder or root, tuple(path for path, _ in pairs), targets, store=store, given_path=root)
    return Catalog(root, tuple(names), splits, tuple(notes), origin)


def build_multi_label_catalog(
    root: Path,
    folder: Path,
    entries: Sequence[tuple[str, Sequence[str], str]],
    classes: Sequence[str] | None,
    *,
    notes: list[str],
    origin: Origin,
    store: Store | None = None,
) -> Catalog:
    """Return the catalog of (path, labels, split): a one for every label of an image, sorted by path.

    Raises:
        UserError: there is no label, or one that is unknown to training or the model.
    """
    first = min((split for _, _, split in entries), key=SPLIT_NAMES.index)
    names = list(classes) if classes is not None else sorted({label for _, labels, split in entries if split == first for label in labels})
    if not names:
        raise UserError(f"{root}: no {first} image has a label; there is nothing to learn")
    numbers = {name: number for number, name in enumerate(names)}
    notes, splits = list(notes), {}
    for split in SPLIT_NAMES:
        members = sorted((path, labels) for path, labels, place in entries if place == split)
        if not members:
            continue
        unknown = sorted({label for _, labels in members for label in labels} - numbers.keys())
        if unknown:
            raise UserError(unknown_class(str(root), split, unknown, names, given=classes is not None))
        targets = np.zeros((len(members), len(names)), dtype=np.float32)
        for row, (_, labels) in zip(targets, members, strict=True):
            row[[numbers[label] for label in labels]] = 1
        if missing := [name for name, column in zip(names, targets.T, strict=True) if not column.any()]:
            notes.append(lacks(split, missing))
        splits[split] = Split(split, folder, tuple(path for path, _ in members), targets, store=store, given_path=root)
    return Catalog(root, tuple(names), splits, tuple(notes), origin, target=Labels)


def unknown_class(place: str, split: str, unknown: Sequence[str], names: Sequence[str], *, given: bool) -> str:
    """Return the message about classes of a split that are unknown to training or, where the classes are given, to the model."""
    owner = "the model does not know" if given else "train has not"
    noun = "class" if len(unknown) == 1 else "classes"
    known = f"{nearest(unknown[0], list(names))} Classes: {name_some(names)}"
    return f"{place}: {split} holds the {noun} {name_some(unknown)}, which {owner}.{known}"
