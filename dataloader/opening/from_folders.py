"""The catalog of class folders."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from dataloader.opening.build_catalog import build_catalog
from dataloader.opening.divide_images import HoldOut, cut_images, with_val
from dataloader.opening.named_groups import read_groups
from dataloader.opening.saved_split import read_saved_split
from dataloader.sources.folders import has_images, scan_classes, split_folders, subfolders
from dataloader.splits.catalog import Catalog, name_some, with_groups
from dataloader.splits.holdout import SplitLine
from dataloader.splits.split import SPLIT_NAMES
from dataloader.targets.label import Label
from utils.errors import UserError

LAYOUT = "DIR/{train,val,test}/<class>/*.jpg, or DIR/<class>/*.jpg to be split, a list FILE.csv of image,labels, or shards DIR/*.tar"
TRY = "try --data digits, which is built in"


def from_folders(
    root: Path,
    data: str,
    classes: Sequence[str] | None,
    *,
    cut: HoldOut,
    group_by: str | None,
    require_train: bool,
    whole: str | None,
    tolerant: bool,
) -> Catalog:
    """Return the catalog of class folders, in folders of splits or in one; the arguments are those of `open_catalog`."""
    folders = split_folders(root)
    if not folders:
        return _from_one_folder(root, data, classes, cut=cut, group_by=group_by, whole=whole, tolerant=tolerant)
    if require_train and "train" not in folders:
        raise UserError(f"{root} holds {', '.join(folders.values())} but no train folder; expected {LAYOUT}")
    found = _from_split_folders(root, folders, classes, tolerant=tolerant)
    if group_by is not None:
        found = with_groups(found, read_groups(group_by, [path for split in found.splits.values() for path in split.paths]))
    return with_val(found, cut)


def _from_one_folder(
    root: Path, data: str, classes: Sequence[str] | None, *, cut: HoldOut, group_by: str | None, whole: str | None, tolerant: bool
) -> Catalog:
    files = _scan_one_folder(root, data)
    groups = {} if group_by is None else read_groups(group_by, [path for paths in files.values() for path in paths])
    if whole is not None:
        assert whole in SPLIT_NAMES, whole
        return with_groups(build_catalog(root, {whole: files}, classes, notes=[], origin="folders"), groups)
    if cut.split_file is not None:
        entries, notes = read_saved_split(
            cut.split_file, {path: label for label, paths in files.items() for path in paths}, where="lies in {}/"
        )
    else:
        if classes is None and not tolerant:
            _refuse_empty(root, files)
        labels = {path: (label,) for label, paths in files.items() for path in paths}
        entries, notes = [SplitLine(path, label, split) for path, (label,), split in cut_images(labels, groups, cut, Label)], []
    found = by_split_and_class(entries)
    if tolerant and "train" in found:
        found["train"] |= {name: [] for name, paths in files.items() if not paths}
    return with_groups(build_catalog(root, found, classes, notes=notes, origin="seeded"), groups)


def _from_split_folders(root: Path, folders: Mapping[str, str], classes: Sequence[str] | None, *, tolerant: bool) -> Catalog:
    found = {split: scan_classes(root / name, f"{name}/") for split, name in folders.items()}
    for split, members in found.items():
        folder = root / folders[split]
        if not any(members.values()):
            what = "images but no class folders" if not members and has_images(folder) else "no images"
            raise UserError(f"{folder} holds {what}. Expected {LAYOUT}; {TRY}")
    if classes is None and "train" in found and not tolerant:
        _refuse_empty(root / folders["train"], found["train"])
    others = [name for name in subfolders(root) if name not in folders.values()]
    notes = [f"{root}: ignored {', '.join(others)} next to {', '.join(folders.values())}"] if others else []
    return build_catalog(root, found, classes, notes=notes, origin="folders")


def _scan_one_folder(root: Path, data: str) -> dict[str, list[str]]:
    """Return class -> paths of a single folder of classes, or raise UserError that says why it is not one."""
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


def by_split_and_class(entries: Sequence[SplitLine]) -> dict[str, dict[str, list[str]]]:
    """Return split -> class -> paths."""
    found: dict[str, dict[str, list[str]]] = {}
    for entry in entries:
        found.setdefault(entry.split, {}).setdefault(entry.label, []).append(entry.path)
    return found


def _refuse_empty(folder: Path, files: Mapping[str, list[str]]) -> None:
    empty = [name for name, paths in files.items() if not paths]
    if empty:
        raise UserError(f"{folder}: no images in the class folder {name_some(empty)}; add some, or remove the folder")
