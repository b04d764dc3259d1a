"""Open a data set: its classes and the images of every split. Classes are never silently renumbered."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataloader import SOURCES
from dataloader.mask_reading import USUAL, MaskReading
from dataloader.sources.box_sets import LAYOUT as BOX_LAYOUT
from dataloader.sources.box_sets import looks_like_boxes, open_boxes
from dataloader.sources.defect_folders import looks_like_defect_folders
from dataloader.sources.folders import has_images, scan_classes, split_folders, subfolders
from dataloader.sources.lists import Listing, find_lists, is_list_name, join_labels, read_lists
from dataloader.sources.mask_layouts import has_masks
from dataloader.sources.mask_sets import LAYOUT as MASK_LAYOUT
from dataloader.sources.mask_sets import open_masks
from dataloader.sources.saved_tables import is_saved_table, read_saved_table
from dataloader.sources.shards import expand, find_shards, is_shard_name, read_shards
from dataloader.sources.truth_set import TruthSet
from dataloader.splits.defect_catalog import open_defects
from dataloader.splits.groups import GROUPS_TWICE, count_groups, group_folds, hold_out_groups, read_groups
from dataloader.splits.holdout import SplitLine, fold_numbers, hold_out, hold_out_labels, parse_fold, read_split_file, write_split_file
from dataloader.splits.split import (
    SPLIT_NAMES,
    Catalog,
    LineFault,
    Origin,
    Split,
    build_catalog,
    build_several,
    groups_of,
    name_some,
    rearranged,
    unknown_class,
    with_groups,
)
from dataloader.targets.boxes import Boxes
from dataloader.targets.defect import Defect
from dataloader.targets.label import Label, Labels
from dataloader.targets.mask import Mask
from dataloader.targets.target import Target
from utils.errors import UserError, closest
from utils.registry import is_user_target
from utils.text import counted

LAYOUT = "DIR/{train,val,test}/<class>/*.jpg, or DIR/<class>/*.jpg to be split, a list FILE.csv of image,labels, or shards DIR/*.tar"
TRY = "try --data digits, which is built in"
# Default share held out for validation.
VAL_SHARE = 0.15


class HoldOut(NamedTuple):
    """How images without a split are divided into train, val and test.

    Attributes:
        seed: of the split.
        val_share: of the images; None takes VAL_SHARE of those without any split, and nothing of a split without val.
        test_share: of the images.
        split_file: written by `save_split` for the same split; takes precedence over the others.
    """

    seed: int = 0
    val_share: float | None = None
    test_share: float = 0.15
    split_file: Path | None = None


def open_catalog(
    data: str,
    *,
    seed: int = 0,
    val_share: float | None = None,
    test_share: float = 0.15,
    group_by: str | None = None,
    classes: Sequence[str] | None = None,
    split_file: Path | None = None,
    require_train: bool = True,
    whole: str | None = None,
    target: type[Target] | None = None,
    asked_by: str = "the model",
    tolerant: bool = False,
    masks: MaskReading = USUAL,
    home: Path = Path("data"),
) -> Catalog:
    """Find the images of `data`.

    Args:
        data: a folder, a list, an archive or a pattern of them, the name of a source, or 'my_file.py:function' that returns one of these.
        seed, val_share, test_share: of the split of a single folder of classes; a given val_share also takes validation images out of
            train where there are none.
        group_by: names the groups of images that are kept in one split, see `read_groups`; lists and shards may name them, too.
        classes: names that a model already knows, in its order; otherwise the sorted names of the training folders.
        split_file: what `save_split` wrote; read in place of a new split where the data is not split, or has no val.
        require_train: False accepts folders without train/, for evaluation.
        whole: name of the split ('test') that takes a single folder of classes, or one list, as a whole.
        target: the type of target that a task takes; None accepts that of the data.
        asked_by: who needs it, for messages.
        tolerant: whether lines of lists that cannot be used are left out and listed in `faults`, class folders without images
            are kept, and images without a mask left out, instead of being an error.
        masks: how masks are read, where the data has some.
        home: where built-in sources are written.

    Raises:
        UserError: there is no such folder, its layout is unknown, a class is empty or unknown, or the target is of another type.
    """
    cut = HoldOut(seed, val_share, test_share, split_file)
    of_truths = {"cut": cut, "group_by": group_by, "require_train": require_train, "whole": whole}
    if (folder := _mask_folder(data, home, target)) is not None:
        return _from_truths(open_masks(folder, masks, classes, tolerant=tolerant), Mask, MASK_LAYOUT, **of_truths)
    if (place := _box_place(data, home, target)) is not None:
        return _from_truths(open_boxes(place, masks, classes, tolerant=tolerant), Boxes, BOX_LAYOUT, **of_truths)
    root, listing = _open(data, home, tolerant=tolerant)
    if target is Defect or (target is None and listing is None and looks_like_defect_folders(root)):
        shares = {"val_share": VAL_SHARE if val_share is None else val_share, "test_share": test_share}
        more = {"group_by": group_by, "split_file": split_file, "whole": whole, "require_train": require_train}
        return open_defects(root, listing, seed=seed, **shares, **more)
    if listing is not None:
        listing = _grouped(listing, root, group_by)
        found = _from_lists(root, listing, classes, cut=cut, require_train=require_train, whole=whole, target=target, asked_by=asked_by)
        found = with_groups(found, {image.path: image.group for image in listing.images})
        doubles = [fault.message for fault in listing.faults if fault.kind == "double"]
        if doubles and not tolerant:
            more = f", and {len(doubles) - 1} more" if doubles[1:] else ""
            found = replace(found, notes=(*found.notes, f"{doubles[0]}{more}; each image counts once"))
        return _with_val(replace(found, faults=listing.faults), cut)
    if target not in (None, Label):
        raise UserError(
            f"{root} holds class folders, one label per image, but {asked_by} gives {target.per_image}: name a list, --data FILE.csv"
        )
    folders = split_folders(root)
    if not folders:
        files = _scan_flat(root, data)
        groups = {} if group_by is None else read_groups(group_by, [path for paths in files.values() for path in paths])
        if whole is not None:
            assert whole in SPLIT_NAMES, whole
            return with_groups(build_catalog(root, {whole: files}, classes, notes=[], origin="folders"), groups)
        if split_file is not None:
            entries, notes = _from_file(split_file, {path: label for label, paths in files.items() for path in paths}, where="lies in {}/")
        else:
            if classes is None and not tolerant:
                _refuse_empty(root, files)
            labels = {path: (label,) for label, paths in files.items() for path in paths}
            entries, notes = [SplitLine(path, label, split) for path, (label,), split in _cut(labels, groups, cut, Label)], []
        found = _group(entries)
        if tolerant and "train" in found:
            found["train"] |= {name: [] for name, paths in files.items() if not paths}
        return with_groups(build_catalog(root, found, classes, notes=notes, origin="seeded"), groups)
    if require_train and "train" not in folders:
        raise UserError(f"{root} holds {', '.join(folders.values())} but no train folder; expected {LAYOUT}")
    found = _from_folders(root, folders, classes, tolerant=tolerant)
    if group_by is not None:
        found = with_groups(found, read_groups(group_by, [path for split in found.splits.values() for path in split.paths]))
    return _with_val(found, cut)


def _mask_folder(data: str, home: Path, target: type[Target] | None) -> Path | None:
    """Return the folder of images with masks, where a task asks for them, or the folders say so; None for labels."""
    if target not in (None, Mask):
        return None
    if data in SOURCES or (is_user_target(data) and not os.path.exists(data)):
        return Path(SOURCES.resolve(data)(home)) if target is Mask else None
    root = Path(data).expanduser()
    if target is Mask and not root.is_dir():
        what = "is a file" if root.exists() else "is not a folder"
        raise UserError(
            f"--data {data} {what}; masks are read from a folder.{'' if root.exists() else _meant(data)} Expected {MASK_LAYOUT}"
        )
    return root if target is Mask or (root.is_dir() and has_masks(root)) else None


def _box_place(data: str, home: Path, target: type[Target] | None) -> Path | None:
    """Return the folder or the file of images with boxes, where a task asks for them, or the files say so; None for labels."""
    if target not in (None, Boxes):
        return None
    if data in SOURCES or (is_user_target(data) and not os.path.exists(data)):
        return Path(SOURCES.resolve(data)(home)) if target is Boxes else None
    place = Path(data).expanduser()
    if target is Boxes and not place.exists():
        raise UserError(f"--data {data} is not there.{_meant(data)} Expected {BOX_LAYOUT}")
    return place if target is Boxes or looks_like_boxes(place) else None


def _from_truths(
    found: TruthSet, target: type[Target], layout: str, *, cut: HoldOut, group_by: str | None, require_train: bool, whole: str | None
) -> Catalog:
    """Return the catalog of images with masks or boxes, split by their folders, their lists, or here."""
    root, truths, notes = found.root, found.truths, list(found.notes)
    paths = [path for members in found.images.values() for path in members]
    groups = {} if group_by is None else read_groups(group_by, paths)
    origin: Origin = "folders"
    images = dict(found.images)
    if "" in images:
        everything, origin = images.pop(""), "seeded"
        if whole is not None:
            images = {whole: everything}
        elif cut.split_file is not None:
            entries, more = _from_file(cut.split_file, dict.fromkeys(everything, ""), where="has {}")
            notes += more
            images = _by_split((entry.path, entry.split) for entry in entries)
        else:
            images = _by_split((path, split) for path, _, split in _cut(dict.fromkeys(everything, ("",)), groups, cut, Label))
    if require_train and "train" not in images:
        raise UserError(f"{root} holds {', '.join(images)} but no train images. Expected {layout}")
    splits = {}
    for name in (each for each in SPLIT_NAMES if each in images):
        chosen = tuple(images[name])
        splits[name] = Split(name, root, chosen, np.zeros(len(chosen), np.int64), given_path=root, truths=truths)
    faults = tuple(LineFault("box", each) for each in found.faults)
    catalog = Catalog(root, truths.classes, splits, tuple(notes), origin, target=target, faults=faults)
    return _with_val(with_groups(catalog, groups), cut)


def _by_split(places: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path, split in places:
        found.setdefault(split, []).append(path)
    return found


def _grouped(listing: Listing, root: Path, group_by: str | None) -> Listing:
    """Return the listing with the groups that --group_by names.

    Raises:
        UserError: the listing already names groups.
    """
    if group_by is None:
        return listing
    if any(image.group for image in listing.images):
        raise UserError(GROUPS_TWICE.format(root))
    groups = read_groups(group_by, [image.path for image in listing.images])
    return replace(listing, images=tuple(image._replace(group=groups[image.path]) for image in listing.images))


def _cut(
    labels: Mapping[str, Sequence[str]], groups: Mapping[str, str], cut: HoldOut, target: type[Target]
) -> list[tuple[str, Sequence[str], str]]:
    """Return (path, labels, split) of images, split into train, val and test."""
    shares = {"val_share": VAL_SHARE if cut.val_share is None else cut.val_share, "test_share": cut.test_share}
    if any(groups.values()):
        return [(path, labels[path], split) for path, split in hold_out_groups(labels, groups, seed=cut.seed, **shares).items()]
    if target.is_one_class:
        return [(entry.path, labels[entry.path], entry.split) for entry in hold_out(_by_class(labels), seed=cut.seed, **shares)]
    return hold_out_labels(labels, seed=cut.seed, **shares)


def _with_val(catalog: Catalog, cut: HoldOut) -> Catalog:
    """Return the catalog with validation images taken out of train, where it has none and a share or a saved split is given."""
    if "val" in catalog.splits or "train" not in catalog.splits:
        return catalog
    train = catalog.splits["train"]
    if cut.split_file is not None:
        places = {entry.path: entry.split for entry in read_split_file(cut.split_file) if entry.split != "test"}
        if "val" not in places.values():
            return catalog
        if missing := sorted(places.keys() - set(train.paths)):
            raise UserError(f"{cut.split_file} names {gone(missing)}; restore the missing files, or remove their lines from that file")
        found = rearranged(catalog, places)
        return replace(found, notes=(*found.notes, *_not_used(sorted(set(train.paths) - places.keys()), cut.split_file)))
    if cut.val_share is None:
        return catalog
    labels = {path: label_names(catalog, target) for path, target in _members(train)}
    entries = _cut(labels, groups_of([train]), cut._replace(test_share=0.0), catalog.target)
    places = {path: split for path, _, split in entries}
    return rearranged(catalog, places) if "val" in places.values() else catalog


def take_fold(catalog: Catalog, fold: str, *, seed: int, split_file: Path | None = None) -> Catalog:
    """Return the catalog with one of K parts of train and val as val, and the other parts as train.

    Images with defects, from which nothing is learned, are dealt to no part: they stay in val.

    Args:
        catalog: with training images.
        fold: 'I/K', I from 0.
        seed: of the parts.
        split_file: written by `save_split` for the same fold; takes precedence over the seed.

    Raises:
        UserError: the fold is not I/K, or a part would be empty.
    """
    number, count = parse_fold(fold)
    if split_file is not None:
        places = {entry.path: entry.split for entry in read_split_file(split_file)}
        there = {path for split in catalog.splits.values() for path in split.paths}
        if missing := [path for path in places if path not in there]:
            raise UserError(f"{split_file} names {gone(missing)}; restore the missing files, or remove their lines from that file")
        pooled = (path for name in ("train", "val") if name in catalog.splits for path in catalog.splits[name].paths)
        found = rearranged(catalog, places)
        return replace(found, notes=(*found.notes, *_not_used(sorted(set(pooled) - places.keys()), split_file)))
    parts = [catalog.splits[name] for name in ("train", "val") if name in catalog.splits]
    everything = [(path, target) for part in parts for path, target in _members(part)]
    pool = [(path, target) for path, target in everything if not (catalog.target is Defect and target)]
    if groups := groups_of(parts):
        groups = {path: groups.get(path, "") for path, _ in pool}
        numbers = group_folds({path: label_names(catalog, target) for path, target in pool}, groups, count, seed=seed)
        what = f"{counted(count_groups(groups), 'group')} of images"
    else:
        numbers = fold_numbers({path: _cell(catalog, target) for path, target in pool}, count, seed=seed)
        what = counted(len(numbers), "image")
    sizes = Counter(numbers.values())
    if not all(sizes[part] for part in range(count)):
        if sizes[-1] == len(numbers):
            raise UserError(f"--fold {fold}: no class has two {'groups' if groups else 'images'}, of which one could validate; add some")
        raise UserError(f"--fold {fold}: {what} are too few for {count} parts; write a smaller K")
    dealt = {path: "val" if place == number else "train" for path, place in numbers.items()}
    return rearranged(catalog, {path: dealt.get(path, "val") for path, _ in everything})


def gone(missing: Sequence[str]) -> str:
    """Return a phrase about images that are missing."""
    return f"{counted(len(missing), 'image that is', 'images that are')} not there, such as {missing[0]}"


def _members(split: Split) -> Iterator[tuple[str, np.ndarray | np.int64]]:
    return zip(split.paths, split.targets, strict=True)


def save_split(catalog: Catalog, path: Path) -> None:
    """Write which image belongs to which split, as CSV: path, class, split."""
    write_split_file(
        (
            SplitLine(image, _cell(catalog, target), name)
            for name, split in catalog.splits.items()
            for image, target in zip(split.paths, split.targets, strict=True)
        ),
        path,
    )


def _cell(catalog: Catalog, target: np.ndarray | np.int64) -> str:
    """Return the name of a class, or those of several labels."""
    return join_labels(sorted(label_names(catalog, target)))


def label_names(catalog: Catalog, target: np.ndarray | np.int64) -> list[str]:
    """Return the names of an image's labels."""
    return [catalog.classes[number] for number in catalog.target.class_numbers(target)]


def fingerprint(split: Split) -> str:
    """Return a short hash of the relative paths, targets, weights and, where known, sizes: to notice that a split has changed."""
    digest = hashlib.blake2b(digest_size=16)
    # Without the times of files, so that a copy of the data has the same hash.
    sizes = split.stamps[:, 0].tolist() or [""] * len(split)
    for path, target, size in zip(split.paths, split.targets, sizes, strict=True):
        digest.update(f"{path}\0{target.tolist()}\0{size}\n".encode(errors="surrogateescape"))
    if (split.weights != 1).any():
        digest.update(split.weights.tobytes())
    return digest.hexdigest()


def _open(data: str, home: Path, *, tolerant: bool) -> tuple[Path, Listing | None]:
    """Return the root of the images, and the listing there; None for class folders."""
    if data in SOURCES or (is_user_target(data) and not os.path.exists(data)):
        source: Callable[[Path], Path] = SOURCES.resolve(data)
        return _open_path(Path(source(home)), tolerant=tolerant)
    root = Path(data).expanduser()
    if not root.exists() and is_shard_name(data):
        files = expand(data)
        folder = Path(os.path.commonpath([file.parent for file in files]))
        return root, read_shards(folder, files)
    is_list = root.is_file() and (is_list_name(root.name) or is_shard_name(root.name))
    if not root.is_dir() and not is_list:
        what = "is a file, but not a list (.csv, .txt, .json) or an archive (.tar)" if root.exists() else "is not a folder or a list"
        raise UserError(f"--data {data} {what}.{'' if root.exists() else _meant(data)} Expected {LAYOUT}; {TRY}")
    return _open_path(root, tolerant=tolerant)


def _meant(data: str) -> str:
    """Return ' Did you mean X?' for the source, folder or list whose name is closest to one that is not there; '' where none is."""
    parent, name = os.path.split(data.rstrip("/"))
    place = Path(parent).expanduser()
    there = [entry.name for entry in place.iterdir() if entry.is_dir() or is_list_name(entry.name)] if place.is_dir() else []
    # What looks like a path is none of the names of sources.
    found = closest(name, [*([] if parent else SOURCES), *(each for each in there if not each.startswith("."))], cutoff=0.7)
    return f" Did you mean {os.path.join(parent, found)}?" if found else ""


def _open_path(root: Path, *, tolerant: bool) -> tuple[Path, Listing | None]:
    if root.is_file() and is_shard_name(root.name):
        return root, read_shards(root.parent, [root])
    if lists := find_lists(root):
        return root, read_lists(lists, tolerant=tolerant)
    if shards := find_shards(root):
        return root, read_shards(root, shards)
    return root, read_saved_table(root) if is_saved_table(root) else None


def _scan_flat(root: Path, data: str) -> dict[str, list[str]]:
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


def _from_file(split_file: Path, labels: Mapping[str, str], *, where: str) -> tuple[list[SplitLine], list[str]]:
    """Return the lines of a split file for path -> label, and notes; `where` is the part of the message on what the data has instead."""
    entries = read_split_file(split_file)
    missing = [entry.path for entry in entries if entry.path not in labels]
    if missing:
        raise UserError(f"{split_file} names {gone(missing)}; restore the missing files, or remove their lines from that file")
    moved = [entry for entry in entries if labels[entry.path] != entry.label]
    if moved:
        raise UserError(f"{split_file}: {moved[0].path} is listed as class {moved[0].label} but {where.format(labels[moved[0].path])}")
    new = sorted(set(labels) - {entry.path for entry in entries})
    return entries, _not_used(new, split_file)


def _not_used(new: Sequence[str], split_file: Path) -> list[str]:
    """Return a note about images that came after the split was saved."""
    return [f"{counted(len(new), 'image is', 'images are')} not in {split_file} and not used, such as {new[0]}"] if new else []


def _group(entries: Sequence[SplitLine]) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for entry in entries:
        found.setdefault(entry.split, {}).setdefault(entry.label, []).append(entry.path)
    return found


def _from_folders(root: Path, folders: Mapping[str, str], classes: Sequence[str] | None, *, tolerant: bool) -> Catalog:
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


def _from_lists(
    root: Path,
    listing: Listing,
    classes: Sequence[str] | None,
    *,
    cut: HoldOut,
    require_train: bool,
    whole: str | None,
    target: type[Target] | None,
    asked_by: str,
) -> Catalog:
    if target not in (None, Label, Labels):
        raise UserError(f"{root} lists labels, but {asked_by} gives {target.per_image}")
    if target is Label and listing.multi_label:
        raise UserError(f"{root} gives images any number of labels, but {asked_by} gives one; where each has one, call the column 'label'")
    # Data with one label per image also fits a task with any number.
    target = target or (Labels if listing.multi_label else Label)
    labels = {image.path: image.labels for image in listing.images}
    notes: list[str] = []
    origin: Origin = "lists"
    if listing.images[0].split is not None:
        entries = [(image.path, image.labels, str(image.split)) for image in listing.images]
    elif whole is not None:
        entries = [(path, names, whole) for path, names in labels.items()]
    else:
        origin = "seeded"
        if cut.split_file is not None:
            cells = {path: join_labels(names) for path, names in labels.items()}
            saved, notes = _from_file(cut.split_file, cells, where="has '{}' in the list")
            entries = [(entry.path, labels[entry.path], entry.split) for entry in saved]
        else:
            entries = _cut(labels, {image.path: image.group for image in listing.images}, cut, target)
    if require_train and whole is None and all(split != "train" for _, _, split in entries):
        raise UserError(f"{root} lists no train images; training needs a train.csv or a column 'split' that says train")
    _check_labels(listing, entries, classes)
    if target is Labels:
        return build_several(root, listing.folder, entries, classes, notes=notes, origin=origin, store=listing.store)
    grouped = _group([SplitLine(path, join_labels(names), split) for path, names, split in entries])
    return build_catalog(root, grouped, classes, notes=notes, origin=origin, folder=listing.folder, store=listing.store)


def _check_labels(listing: Listing, entries: Sequence[tuple[str, Sequence[str], str]], classes: Sequence[str] | None) -> None:
    """Raise UserError with the line of the first label that is unknown to training, or to the model."""
    known = set(classes) if classes is not None else {label for _, labels, split in entries if split == "train" for label in labels}
    if not known:
        return
    wrong = {path: (split, set(labels) - known) for path, labels, split in entries if not known.issuperset(labels)}
    for image in listing.images:
        if image.path in wrong:
            split, unknown = wrong[image.path]
            raise UserError(unknown_class(image.place, split, sorted(unknown), sorted(known), given=classes is not None))


def _by_class(labels: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path, (name,) in labels.items():
        found.setdefault(name, []).append(path)
    return found


def _refuse_empty(folder: Path, files: Mapping[str, list[str]]) -> None:
    empty = [name for name, paths in files.items() if not paths]
    if empty:
        raise UserError(f"{folder}: no images in the class folder {name_some(empty)}; add some, or remove the folder")
