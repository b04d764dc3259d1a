"""A split and a catalog: the images of a data set with their targets, numbered by one list of classes."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np

from dataloader.images.picture import Picture
from dataloader.images.read import decode_picture, file_status, read_file, read_picture
from dataloader.targets.label import Label, Labels, Unknown
from dataloader.targets.target import Target
from dataloader.targets.truths import Truths
from utils.errors import UserError, nearest

SPLIT_NAMES = ("train", "val", "test")
Origin = Literal["folders", "lists", "seeded"]


class Stamp(NamedTuple):
    """Size and time, to notice that an image has changed.

    Attributes:
        size: of its encoded bytes.
        changed_ns: time of the last change of the file that holds it, in ns.
    """

    size: int
    changed_ns: int


class Store(Protocol):
    """Access to images that are not files, but in archives or tables. It is sent to the loader's processes."""

    def read_bytes(self, file: str) -> bytes:
        """Return the encoded bytes of the image; ImageError if they cannot be read."""
        ...

    def stamp(self, file: str) -> "Stamp":
        """Return size and modification time, of the image or of its container; ImageError if it is missing."""
        ...


class LineFault(NamedTuple):
    """A line of a list that is not used.

    Attributes:
        kind: 'missing' image, no 'label', an unknown 'split', a 'contradiction' of an earlier line, a 'box' that is none; or a 'double'
            of a line, an exact repetition, which is harmless.
        message: file, line and what is wrong with it.
    """

    kind: Literal["missing", "label", "split", "contradiction", "box", "double"]
    message: str


@dataclass(frozen=True, eq=False)
class Split:
    """The images of one split.

    Attributes:
        name: 'train', 'val' or 'test'.
        root: folder that the paths start from.
        paths: N POSIX paths relative to root.
        targets: class indices, int64 (N,), or one probability per class, float32 (N, C): ones for all labels of an image. Classes are
            counted and images held out by these. Without columns, (N, 0), the targets are unknown.
        weights: factor of every sample's loss, float32 (N,); ones when not given.
        store: what holds the images; None where each is a file.
        stamps: size in bytes and time of the last change in ns of every file, int64 (N, 2), to notice changes;
            empty where they are not needed (`dataloader/splits/integrity.py`).
        pool: with --fold, the sorted paths of all images of train and val, so that all folds share one cache.
        white: the value of 16-bit files that is shown as white; None where they span all 16 bits (`dataloader/images/white_value.py`).
        groups: name of the group of every image, N of them, such as the object it shows; '' is a group of its own. Empty without
            groups. Whatever splits a data set keeps groups together.
        given_path: what the user wrote, such as a list, where it is not the root.
        truths: masks or boxes to learn instead of `targets`; None for labels.
    """

    name: str
    root: Path
    paths: tuple[str, ...]
    targets: np.ndarray
    weights: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    store: Store | None = None
    stamps: np.ndarray = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))
    pool: tuple[str, ...] = ()
    white: int | None = None
    groups: tuple[str, ...] = ()
    given_path: Path | None = None
    truths: Truths | None = None

    def __post_init__(self) -> None:
        if len(self.weights) == 0:
            object.__setattr__(self, "weights", np.ones(len(self.paths), dtype=np.float32))
        assert len(self.paths) == len(self.targets) == len(self.weights), "one target and one weight per path"
        assert len(self.groups) in (0, len(self.paths)), "one group per path, or none at all"

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def display_path(self) -> Path:
        """What to call the data in messages: the folder, or the list, that the user named."""
        return self.given_path or self.root

    def subset(self, positions: Sequence[int]) -> "Split":
        """Return the images at these positions, in this order, with all their attributes."""
        numbers = np.asarray(positions, dtype=np.int64)
        return replace(
            self,
            paths=tuple(self.paths[number] for number in numbers),
            targets=self.targets[numbers],
            weights=self.weights[numbers],
            stamps=self.stamps[numbers] if len(self.stamps) else self.stamps,
            groups=tuple(self.groups[number] for number in numbers) if self.groups else (),
        )

    def file(self, index: int) -> str:
        """Return the path of image `index`: a file, or its name inside one."""
        return os.path.join(self.root, self.paths[index])

    def target(self, index: int) -> Target:
        """Return the target of image `index`, as a new object: positions are in pixels of the full image in the file.

        Raises:
            ImageError: it cannot be read.
        """
        if self.truths is not None:
            return self.truths.read(self.paths[index])
        if self.targets.ndim == 1:
            return Label(int(self.targets[index]))
        return Labels(self.targets[index].copy()) if self.targets.shape[1] else Unknown()

    def nothing(self) -> Target:
        """Return an empty target of the same kind, for padding."""
        if self.truths is not None:
            return self.truths.nothing()
        if self.targets.ndim == 1:
            return Label(0)
        return Labels(np.zeros(self.targets.shape[1], self.targets.dtype)) if self.targets.shape[1] else Unknown()

    def read(self, index: int, *, at_least: int | None = None) -> np.ndarray:
        """Return image `index`, uint8 (H, W, 3), RGB; a large JPEG may come smaller, with sides of `at_least` pixels.

        Raises:
            ImageError: it cannot be read.
        """
        return self.read_picture(index, at_least=at_least).image

    def read_picture(self, index: int, *, at_least: int | None = None) -> Picture:
        """Return the image of `read`, with how its pixels lie on the full image in the file.

        Raises:
            ImageError: it cannot be read.
        """
        file = self.file(index)
        if self.store is None:
            return read_picture(file, at_least=at_least, white=self.white)
        return decode_picture(self.store.read_bytes(file), file, at_least=at_least, white=self.white)

    def read_bytes(self, index: int) -> bytes:
        """Return the bytes of image `index`, still encoded.

        Raises:
            ImageError: it cannot be read.
        """
        file = self.file(index)
        return read_file(file) if self.store is None else self.store.read_bytes(file)

    def stamp(self, index: int) -> Stamp:
        """Return size and time of image `index`, to notice changes.

        Raises:
            ImageError: it is missing, or not a file.
        """
        file = self.file(index)
        if self.store is not None:
            return self.store.stamp(file)
        status = file_status(file)
        return Stamp(status.st_size, status.st_mtime_ns)


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
            notes.append(_lacks(name, missing))
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


def _lacks(split: str, classes: Sequence[str]) -> str:
    return f"{split}: no images of {name_some(classes)}"


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
            notes.append(_lacks(split, missing))
        pairs = [(path, target) for target, name in enumerate(names) for path in members.get(name, [])]
        targets = np.array([target for _, target in pairs], dtype=np.int64)
        splits[split] = Split(split, folder or root, tuple(path for path, _ in pairs), targets, store=store, given_path=root)
    return Catalog(root, tuple(names), splits, tuple(notes), origin)


def build_several(
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
            notes.append(_lacks(split, missing))
        splits[split] = Split(split, folder, tuple(path for path, _ in members), targets, store=store, given_path=root)
    return Catalog(root, tuple(names), splits, tuple(notes), origin, target=Labels)


def unknown_class(place: str, split: str, unknown: Sequence[str], names: Sequence[str], *, given: bool) -> str:
    """Return the message about classes of a split that are unknown to training or, where the classes are given, to the model."""
    owner = "the model does not know" if given else "train has not"
    noun = "class" if len(unknown) == 1 else "classes"
    known = f"{nearest(unknown[0], list(names))} Classes: {name_some(names)}"
    return f"{place}: {split} holds the {noun} {name_some(unknown)}, which {owner}.{known}"


def name_some(names: Sequence[str], limit: int = 10) -> str:
    """Return the first names, and how many more there are, for a message."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
