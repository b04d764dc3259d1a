"""Open a data set: its classes and the images of every split, found once and never re-indexed silently."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dataloader import SOURCES
from dataloader.holdout import Entry, fold_numbers, hold_out, hold_out_labels, parse_fold, read_split_file, write_split_file
from dataloader.sources.folders import has_images, scan_classes, split_folders, subfolders
from dataloader.sources.lists import Listing, find_lists, is_list_name, join_labels, read_lists
from dataloader.sources.saved_tables import is_saved_table, read_saved_table
from dataloader.sources.shards import expand, find_shards, is_shard_name, read_shards
from dataloader.split import SPLIT_NAMES, Catalog, Origin, Split, build_catalog, build_several, name_some, rearranged, unknown_class
from utils.errors import UserError, nearest
from utils.registry import is_user_target
from utils.text import counted

LAYOUT = "DIR/{train,val,test}/<class>/*.jpg, or DIR/<class>/*.jpg to be split, a list FILE.csv of image,labels, or shards DIR/*.tar"
TRY = "try --data digits, which is built in"


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
    several: bool | None = None,
    home: Path = Path("data"),
) -> Catalog:
    """Find the images of `data`.

    Args:
        data: a folder, a list, an archive or a pattern of them, the name of a source, or 'my_file.py:function' that returns one of these.
        seed, val_share, test_share: of the split of a single folder of classes.
        classes: names that a model already knows, in its order; otherwise the sorted names of the training folders.
        split_file: what `save_split` wrote; read in place of a new split where data is a single folder of classes or one list.
        require_train: False accepts folders without train/, for evaluation.
        whole: name of the split ('test') that takes a single folder of classes, or one list, as a whole.
        several: whether a model answers with any number of labels; None takes what the data says.
        home: where built-in sources are written.

    Raises:
        UserError: there is no such folder, its layout is none of the known ones, a class is empty or unknown.
    """
    root, listing = _open(data, home)
    if listing is not None:
        return _from_lists(
            root,
            listing,
            classes,
            seed=seed,
            shares=(val_share, test_share),
            split_file=split_file,
            require_train=require_train,
            whole=whole,
            several=several,
        )
    if several:
        raise UserError(f"{root} holds class folders, one label an image, but the model gives several: name a list, --data FILE.csv")
    folders = split_folders(root)
    if not folders:
        files = _scan_flat(root, data)
        if whole is not None:
            assert whole in SPLIT_NAMES, whole
            return build_catalog(root, {whole: files}, classes, notes=[], origin="folders")
        if split_file is not None:
            entries, notes = _from_file(split_file, {path: label for label, paths in files.items() for path in paths}, where="lies in {}/")
        else:
            if classes is None:
                _refuse_empty(root, files)
            entries, notes = hold_out(files, seed=seed, val_share=val_share, test_share=test_share), []
        return build_catalog(root, _group(entries), classes, notes=notes, origin="seeded")
    if require_train and "train" not in folders:
        raise UserError(f"{root} holds {', '.join(folders.values())} but no train folder; expected {LAYOUT}")
    return _from_folders(root, folders, classes)


def take_fold(catalog: Catalog, fold: str, *, seed: int, split_file: Path | None = None) -> Catalog:
    """Return the catalog whose val is one part of K of all images but the test's, and whose train is the others.

    Args:
        catalog: with training images.
        fold: 'I/K', I from 0.
        seed: of the parts.
        split_file: what `save_split` wrote of the same fold; it outranks the seed.

    Raises:
        UserError: the fold reads otherwise, or a part would be empty.
    """
    number, count = parse_fold(fold)
    if split_file is not None:
        places = {entry.path: entry.split for entry in read_split_file(split_file)}
        there = {path for split in catalog.splits.values() for path in split.paths}
        if missing := [path for path in places if path not in there]:
            raise UserError(f"{split_file} names {gone(missing)}; bring back what is gone, or take its lines out of that file")
        pooled = (path for name in ("train", "val") if name in catalog.splits for path in catalog.splits[name].paths)
        found = rearranged(catalog, places)
        return replace(found, notes=(*found.notes, *_not_used(sorted(set(pooled) - places.keys()), split_file)))
    pool = [(path, target) for name in ("train", "val") if name in catalog.splits for path, target in _members(catalog.splits[name])]
    numbers = fold_numbers({path: _cell(catalog, target) for path, target in pool}, count, seed=seed)
    sizes = [sum(place == part for place in numbers.values()) for part in range(count)]
    if not all(sizes):
        raise UserError(f"--fold {fold}: {len(numbers)} images are too few for {count} parts; write a smaller K")
    return rearranged(catalog, {path: "val" if place == number else "train" for path, place in numbers.items()})


def gone(missing: Sequence[str]) -> str:
    """Return words about images that were expected."""
    return f"{counted(len(missing), 'image that is', 'images that are')} not there, such as {missing[0]}"


def _members(split: Split) -> Iterator[tuple[str, np.ndarray | np.int64]]:
    return zip(split.paths, split.targets, strict=True)


def save_split(catalog: Catalog, path: Path) -> None:
    """Write which image belongs to which split, as CSV: path, class, split."""
    write_split_file(
        (
            Entry(image, _cell(catalog, target), name)
            for name, split in catalog.splits.items()
            for image, target in zip(split.paths, split.targets, strict=True)
        ),
        path,
    )


def _cell(catalog: Catalog, target: np.ndarray | np.int64) -> str:
    """Return the name of a class, or those of several labels."""
    if not catalog.several:
        return catalog.classes[int(target)]
    return join_labels(sorted(catalog.classes[index] for index in np.flatnonzero(target)))


def fingerprint(split: Split) -> str:
    """Return a short hash of the relative paths, targets, weights and, where known, sizes: it tells whether a split has changed."""
    digest = hashlib.blake2b(digest_size=16)
    # Times of files are left out: a copy of the data is the same data.
    sizes = split.stamps[:, 0].tolist() or [""] * len(split)
    for path, target, size in zip(split.paths, split.targets, sizes, strict=True):
        digest.update(f"{path}\0{target.tolist()}\0{size}\n".encode(errors="surrogateescape"))
    if (split.weights != 1).any():
        digest.update(split.weights.tobytes())
    return digest.hexdigest()


def _open(data: str, home: Path) -> tuple[Path, Listing | None]:
    """Return the place of the images, and what is listed there; None for class folders."""
    if data in SOURCES or (is_user_target(data) and not os.path.exists(data)):
        source: Callable[[Path], Path] = SOURCES.resolve(data)
        return _open_path(Path(source(home)))
    root = Path(data).expanduser()
    if not root.exists() and is_shard_name(data):
        files = expand(data)
        folder = Path(os.path.commonpath([file.parent for file in files]))
        return root, read_shards(folder, files)
    is_list = root.is_file() and (is_list_name(root.name) or is_shard_name(root.name))
    if not root.is_dir() and not is_list:
        what = "is a file, but no list (.csv, .txt, .json) or archive (.tar)" if root.exists() else "is no folder or list"
        raise UserError(f"--data {data} {what}.{nearest(data, list(SOURCES))} Expected {LAYOUT}; {TRY}")
    return _open_path(root)


def _open_path(root: Path) -> tuple[Path, Listing | None]:
    if root.is_file() and is_shard_name(root.name):
        return root, read_shards(root.parent, [root])
    if lists := find_lists(root):
        return root, read_lists(lists)
    if shards := find_shards(root):
        return root, read_shards(root, shards)
    return root, read_saved_table(root) if is_saved_table(root) else None


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


def _from_file(split_file: Path, labels: Mapping[str, str], *, where: str) -> tuple[list[Entry], list[str]]:
    """Return the entries of a split file for path -> label, and notes; `where` says what the data has instead."""
    entries = read_split_file(split_file)
    missing = [entry.path for entry in entries if entry.path not in labels]
    if missing:
        raise UserError(f"{split_file} names {gone(missing)}; bring back what is gone, or take its lines out of that file")
    moved = [entry for entry in entries if labels[entry.path] != entry.label]
    if moved:
        raise UserError(f"{split_file}: {moved[0].path} is listed as class {moved[0].label} but {where.format(labels[moved[0].path])}")
    new = sorted(set(labels) - {entry.path for entry in entries})
    return entries, _not_used(new, split_file)


def _not_used(new: Sequence[str], split_file: Path) -> list[str]:
    """Return a note about images that came after the split was saved."""
    return [f"{counted(len(new), 'image is', 'images are')} not in {split_file} and not used, such as {new[0]}"] if new else []


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
    return build_catalog(root, found, classes, notes=notes, origin="folders")


def _from_lists(
    root: Path,
    listing: Listing,
    classes: Sequence[str] | None,
    *,
    seed: int,
    shares: tuple[float, float],
    split_file: Path | None,
    require_train: bool,
    whole: str | None,
    several: bool | None,
) -> Catalog:
    if several is False and listing.several:
        raise UserError(f"{root} gives images any number of labels, but the model gives one; where each has one, call the column 'label'")
    several = listing.several or bool(several)
    labels = {image.path: image.labels for image in listing.images}
    notes: list[str] = []
    origin: Origin = "lists"
    if listing.images[0].split is not None:
        entries = [(image.path, image.labels, str(image.split)) for image in listing.images]
    elif whole is not None:
        entries = [(path, names, whole) for path, names in labels.items()]
    else:
        origin = "seeded"
        if split_file is not None:
            cells = {path: join_labels(names) for path, names in labels.items()}
            saved, notes = _from_file(split_file, cells, where="has '{}' in the list")
            entries = [(entry.path, labels[entry.path], entry.split) for entry in saved]
        elif several:
            entries = hold_out_labels(labels, seed=seed, val_share=shares[0], test_share=shares[1])
        else:
            saved = hold_out(_by_class(labels), seed=seed, val_share=shares[0], test_share=shares[1])
            entries = [(entry.path, (entry.label,), entry.split) for entry in saved]
    if require_train and whole is None and all(split != "train" for _, _, split in entries):
        raise UserError(f"{root} lists no train images; training needs a train.csv or a column 'split' that says train")
    _check_labels(listing, entries, classes)
    if several:
        return build_several(root, listing.folder, entries, classes, notes=notes, origin=origin, store=listing.store)
    grouped = _group([Entry(path, join_labels(names), split) for path, names, split in entries])
    return build_catalog(root, grouped, classes, notes=notes, origin=origin, folder=listing.folder, store=listing.store)


def _check_labels(listing: Listing, entries: Sequence[tuple[str, Sequence[str], str]], classes: Sequence[str] | None) -> None:
    """Raise UserError that names the line of the first label which neither training nor the model has."""
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
