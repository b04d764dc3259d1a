"""A catalog: the splits of a data set, with one list of classes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dataloader.splits.split import SPLIT_NAMES, LineFault, Origin, Split
from dataloader.targets.label import Label
from dataloader.targets.target import Target


@dataclass(frozen=True, eq=False)
class Catalog:
    """A data set.

    Attributes:
        root: its folder, or its list.
        classes: names; the index of a name is the target.
        splits: those of train, val and test that exist.
        notes: warnings for the user, a line each.
        split_origin: 'folders' or 'lists' when the user split the images, 'seeded' when they were held out here.
        target: type of the targets.
        faults: lines of lists that are not used.
    """

    root: Path
    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    notes: tuple[str, ...] = ()
    split_origin: Origin = "folders"
    target: type[Target] = Label
    faults: tuple[LineFault, ...] = ()

    @property
    def listed(self) -> bool:
        """Whether lists name the images."""
        return self.split_origin == "lists" or self.root.is_file()


def rearranged(catalog: Catalog, places: Mapping[str, str]) -> Catalog:
    """Return the catalog with the images of train and val where `places`, path -> 'train' or 'val', puts them; others are left out."""
    splits = {name: split for name, split in catalog.splits.items() if name not in ("train", "val")}
    parts = [catalog.splits[name] for name in ("train", "val") if name in catalog.splits]
    if not parts:
        return catalog
    paths = np.array([path for part in parts for path in part.paths], dtype=object)
    targets = np.concatenate([part.targets for part in parts])
    weights = np.concatenate([part.weights for part in parts])
    groups = groups_of(parts)
    notes = list(catalog.notes)
    for name in ("train", "val"):
        mine = [index for index, path in enumerate(paths) if places.get(path) == name]
        # The order in which a catalog is built: by class, then by path.
        mine.sort(key=lambda index: (0 if targets.ndim == 2 else targets[index], paths[index]))
        pool = tuple(sorted(paths)) if name == "train" else ()
        chosen = tuple(paths[mine])
        own = tuple(groups.get(path, "") for path in chosen) if groups else ()
        more = {"pool": pool, "groups": own, "given_path": parts[0].given_path, "truths": parts[0].truths}
        splits[name] = Split(name, parts[0].root, chosen, targets[mine], weights[mine], parts[0].store, **more)
        notes = [note for note in notes if not note.startswith(f"{name}:")]
        if parts[0].truths is not None:
            continue
        held = set(targets[mine].tolist()) if targets.ndim == 1 else set(np.flatnonzero(targets[mine].any(0)).tolist())
        if missing := [label for number, label in enumerate(catalog.classes) if number not in held]:
            notes.append(lacks(name, missing))
    found = {name: splits[name] for name in SPLIT_NAMES if name in splits}
    return replace(catalog, splits=found, notes=tuple(notes), split_origin="seeded")


def groups_of(splits: Iterable[Split]) -> dict[str, str]:
    """Return path -> group of the images of some splits; empty where no image has one."""
    found = {path: group for split in splits for path, group in zip(split.paths, split.groups, strict=False)}
    return found if any(found.values()) else {}


def with_groups(catalog: Catalog, groups: Mapping[str, str]) -> Catalog:
    """Return the catalog with the groups of path -> group; unchanged without groups."""
    if not any(groups.values()):
        return catalog
    splits = {name: replace(split, groups=tuple(groups.get(path, "") for path in split.paths)) for name, split in catalog.splits.items()}
    return replace(catalog, splits=splits)


def lacks(split: str, classes: Sequence[str]) -> str:
    return f"{split}: no images of {name_some(classes)}"


def name_some(names: Sequence[str], limit: int = 10) -> str:
    """Return the first names, and how many more there are, for a message."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
