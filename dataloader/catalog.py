"""The catalog of a data set: its classes and the images of every split, found once and never re-indexed silently."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from dataloader import SOURCES
from dataloader.holdout import Entry, hold_out, read_split_file, write_split_file
from dataloader.sources.folders import has_images, scan_classes, split_folders, subfolders
from utils.errors import UserError, nearest
from utils.registry import is_user_target

LAYOUT = "DIR/{train,val,test}/<class>/*.jpg, or DIR/<class>/*.jpg to be split"
TRY = "try --data digits, which is built in"
SPLIT_NAMES = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """The images of one split.

    Attributes:
        name: 'train', 'val' or 'test'.
        root: folder that the paths start from.
        paths: N POSIX paths relative to root.
        targets: class indices, int64 (N,), or probabilities, float32 (N, C).
        weights: factor of every sample's loss, float32 (N,); ones when not given.
    """

    name: str
    root: Path
    paths: tuple[str, ...]
    targets: np.ndarray
    weights: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.float32))

    def __post_init__(self) -> None:
        if len(self.weights) == 0:
            object.__setattr__(self, "weights", np.ones(len(self.paths), dtype=np.float32))
        assert len(self.paths) == len(self.targets) == len(self.weights), "one target and one weight a path"

    def __len__(self) -> int:
        return len(self.paths)

    def file(self, index: int) -> str:
        """Return the path under which image `index` can be opened."""
        return os.path.join(self.root, self.paths[index])


@dataclass(frozen=True, eq=False)
class Catalog:
    """A data set.

    Attributes:
        root: its folder.
        classes: names; the index of a name is the target.
        splits: those of train, val and test that exist.
        notes: warnings for the user, a line each.
        split_origin: 'folders' when the user split the images, 'seeded' when they were held out here.
    """

    root: Path
    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    notes: tuple[str, ...] = ()
    split_origin: Literal["folders", "seeded"] = "folders"


def open_catalog(
    data: str,
    *,
    seed: int = 0,
    val_share: float = 0.15,
    test_share: float = 0.15,
    classes: Sequence[str] | None = None,
    split_file: Path | None = None,
    require_train: bool = True,
    whole: str | None = None,
    home: Path = Path("data"),
) -> Catalog:
    """Find the images of `data`.

    Args:
        data: name of a built-in source, 'my_file.py:function' that returns a folder, or a folder.
        seed, val_share, test_share: of the split of a single folder of classes.
        classes: names that a model already knows, in its order; otherwise the sorted names of the training folders.
        split_file: what `save_split` wrote; read in place of a new split where data is a single folder of classes.
        require_train: False accepts folders without train/, for evaluation.
        whole: name of the split ('test') that takes a single folder of classes as a whole.
        home: where built-in sources are written.

    Raises:
        UserError: there is no such folder, its layout is none of the known ones, a class is empty or unknown.
    """
    root = _find(data, home)
    folders = split_folders(root)
    if not folders:
        files = _scan_flat(root, data)
        if whole is not None:
            assert whole in SPLIT_NAMES, whole
            return _build(root, {whole: files}, classes, notes=[], origin="folders")
        if split_file is not None:
            entries, notes = _from_file(split_file, files)
        else:
            if classes is None:
                _refuse_empty(root, files)
            entries, notes = hold_out(files, seed=seed, val_share=val_share, test_share=test_share), []
        return _build(root, _group(entries), classes, notes=notes, origin="seeded")
    if require_train and "train" not in folders:
        raise UserError(f"{root} holds {', '.join(folders.values())} but no train folder; expected {LAYOUT}")
    return _from_folders(root, folders, classes)


def save_split(catalog: Catalog, path: Path) -> None:
    """Write which image belongs to which split, as CSV: path, class, split."""
    write_split_file(
        (
            Entry(image, catalog.classes[target], name)
            for name, split in catalog.splits.items()
            for image, target in zip(split.paths, split.targets, strict=True)
        ),
        path,
    )


def fingerprint(split: Split) -> str:
    """Return a short hash of the relative paths and targets, which tells whether a split has changed."""
    digest = hashlib.blake2b(digest_size=16)
    for path, target in zip(split.paths, split.targets, strict=True):
        digest.update(f"{path}\0{target}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _find(data: str, home: Path) -> Path:
    if data in SOURCES or (is_user_target(data) and not os.path.isdir(data)):
        source: Callable[[Path], Path] = SOURCES.resolve(data)
        return Path(source(home))
    root = Path(data).expanduser()
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "is no folder"
        raise UserError(f"--data {data} {what}.{nearest(data, list(SOURCES))} Expected {LAYOUT}; {TRY}")
    return root


def _scan_flat(root: Path, data: str) -> dict[str, list[str]]:
    """Return class -> paths of a single folder of classes, or explain why it is none."""
    names = subfolders(root)
    nested = [name for name in names if "train" in split_folders(root / name)]
    if nested:
        raise UserError(f"--data {data} holds data sets, not classes: write --data {os.path.join(data, nested[0])}")
    if not names:
        what = "holds images but no class folders" if has_images(root) else "holds no images"
        raise UserError(f"--data {data} {what}. Expected {LAYOUT}; {TRY}")
    files = scan_classes(root)
    if not any(files.values()):
        raise UserError(f"--data {data} holds no images. Expected {LAYOUT}; {TRY}")
    return files


def _from_file(split_file: Path, files: Mapping[str, list[str]]) -> tuple[list[Entry], list[str]]:
    entries = read_split_file(split_file)
    labels = {path: label for label, paths in files.items() for path in paths}
    missing = [entry.path for entry in entries if entry.path not in labels]
    if missing:
        raise UserError(f"{split_file} names {len(missing)} images that are not there, such as {missing[0]}")
    moved = [entry for entry in entries if labels[entry.path] != entry.label]
    if moved:
        raise UserError(f"{split_file}: {moved[0].path} is listed as class {moved[0].label} but lies in {labels[moved[0].path]}/")
    new = sorted(set(labels) - {entry.path for entry in entries})
    return entries, [f"{len(new)} images are not in {split_file} and are not used, such as {new[0]}"] if new else []


def _group(entries: Sequence[Entry]) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for entry in entries:
        found.setdefault(entry.split, {}).setdefault(entry.label, []).append(entry.path)
    return found


def _from_folders(root: Path, folders: Mapping[str, str], classes: Sequence[str] | None) -> Catalog:
    found = {split: scan_classes(root / name, f"{name}/") for split, name in folders.items()}
    for split, members in found.items():
        folder = root / folders[split]
        if not any(members.values()):
            what = "images but no class folders" if not members and has_images(folder) else "no images"
            raise UserError(f"{folder} holds {what}. Expected {LAYOUT}; {TRY}")
    if classes is None and "train" in found:
        _refuse_empty(root / folders["train"], found["train"])
    others = [name for name in subfolders(root) if name not in folders.values()]
    notes = [f"{root}: ignored {', '.join(others)} beside {', '.join(folders.values())}"] if others else []
    return _build(root, found, classes, notes=notes, origin="folders")


def _refuse_empty(folder: Path, files: Mapping[str, list[str]]) -> None:
    empty = [name for name, paths in files.items() if not paths]
    if empty:
        raise UserError(f"{folder}: no images in the class folder {_some(empty)}; add some, or remove the folder")


def _build(
    root: Path,
    found: Mapping[str, Mapping[str, list[str]]],
    classes: Sequence[str] | None,
    *,
    notes: list[str],
    origin: Literal["folders", "seeded"],
) -> Catalog:
    names = list(classes) if classes is not None else sorted(found.get("train", next(iter(found.values()))))
    if len(names) < 2:
        raise UserError(f"{root} holds a single class, {_some(names)}; a classifier needs at least two class folders")
    notes = list(notes)
    splits = {}
    for split in (split for split in SPLIT_NAMES if split in found):
        members = found[split]
        unknown = [name for name in members if name not in names]
        if unknown:
            raise UserError(_unknown(root, split, unknown, names, given=classes is not None))
        missing = [name for name in names if not members.get(name)]
        if missing:
            notes.append(f"{split}: no images of {_some(missing)}")
        pairs = [(path, target) for target, name in enumerate(names) for path in members.get(name, [])]
        targets = np.array([target for _, target in pairs], dtype=np.int64)
        splits[split] = Split(split, root, tuple(path for path, _ in pairs), targets)
    return Catalog(root, tuple(names), splits, tuple(notes), origin)


def _unknown(root: Path, split: str, unknown: list[str], names: list[str], *, given: bool) -> str:
    owner = "the model does not know" if given else "train has not"
    return f"{root}: {split} holds the class {_some(unknown)}, which {owner}.{nearest(unknown[0], names)} Classes: {_some(names)}"


def _some(names: Sequence[str], limit: int = 10) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
