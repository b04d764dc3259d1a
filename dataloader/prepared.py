"""What a prepared folder holds: where every image goes, and the tables beside them."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dataloader.catalog import fingerprint
from dataloader.groups import hold_out_groups
from dataloader.mean_std import mean_std, write_mean_std
from dataloader.resized import Copy, Written, suffix_for
from dataloader.sources.lists import join_labels
from dataloader.split import Catalog
from utils.errors import UserError
from utils.files import write_csv

MEAN_STD = "mean_std.json"
_FORBIDDEN = frozenset("/\\\0\n\r")


def plan_copies(catalog: Catalog) -> list[Copy]:
    """Return where every image goes: SPLIT/CLASS/NAME, or SPLIT/NAME where images have several labels.

    The name is that of the image; where two would be alike, each gets a hash of its path. It follows from the data alone.

    Raises:
        UserError: the name of a class cannot be that of a folder.
    """
    if not catalog.several:
        for name in catalog.classes:
            if name in ("", ".", "..") or name.startswith(".") or _FORBIDDEN & set(name):
                raise UserError(f"{catalog.root}: the class '{name}' cannot be the name of a folder; rename it")
    copies = []
    for split in catalog.splits.values():
        folders = [split.name if catalog.several else f"{split.name}/{catalog.classes[int(target)]}" for target in split.targets]
        names = [_stem(path) for path in split.paths]
        # Some file systems do not tell upper from lower case.
        taken = Counter((folder, name.casefold()) for folder, name in zip(folders, names, strict=True))
        for index, (folder, name, path) in enumerate(zip(folders, names, split.paths, strict=True)):
            if taken[folder, name.casefold()] > 1:
                name += "-" + hashlib.blake2b(path.encode(errors="surrogateescape"), digest_size=5).hexdigest()
            copies.append(Copy(split.name, index, f"{folder}/{name}{suffix_for(path)}"))
    return copies


def split_by_group(catalog: Catalog, groups: Mapping[str, str], *, seed: int, val_share: float, test_share: float) -> Catalog:
    """Return the catalog of one split as one of several, in which no group of images is in two."""
    (whole,) = catalog.splits.values()
    labels = {path: label_names(catalog, target) for path, target in zip(whole.paths, whole.targets, strict=True)}
    entries = hold_out_groups(labels, groups, seed=seed, val_share=val_share, test_share=test_share)
    places = {entry.path: entry.split for entry in entries}
    splits = {}
    for name in ("train", "val", "test"):
        chosen = np.array([index for index, path in enumerate(whole.paths) if places[path] == name], dtype=np.int64)
        if len(chosen):
            paths = tuple(whole.paths[index] for index in chosen)
            splits[name] = replace(whole, name=name, paths=paths, targets=whole.targets[chosen], weights=whole.weights[chosen])
    return Catalog(catalog.root, catalog.classes, splits, catalog.notes, "seeded", catalog.several)


def label_names(catalog: Catalog, target: np.ndarray | np.int64) -> list[str]:
    """Return the names of an image's labels."""
    if not catalog.several:
        return [catalog.classes[int(target)]]
    return [catalog.classes[index] for index in np.flatnonzero(target)]


def fingerprints(catalog: Catalog) -> dict[str, Any]:
    """Return plain values that change when the images, the classes or the splits do."""
    splits = {name: fingerprint(split) for name, split in catalog.splits.items()}
    # The place itself is nobody's business where the folder is passed on.
    place = hashlib.blake2b(os.fsencode(catalog.root.resolve()), digest_size=8).hexdigest()
    return {"data": place, "classes": list(catalog.classes), "split": splits}


def write_tables(catalog: Catalog, written: Sequence[Written], folder: Path) -> dict[str, int]:
    """Write train.csv and its kin, categories.csv, mean_std.json and, where some were, skipped.csv; return images a split.

    Raises:
        UserError: no image of a split could be read.
    """
    rows: dict[str, list[tuple[str, str]]] = {name: [] for name in catalog.splits}
    skipped = []
    for result in written:
        if result.moments is None:
            skipped.append((catalog.splits[result.copy.split].file(result.copy.index), result.reason))
            continue
        target = catalog.splits[result.copy.split].targets[result.copy.index]
        numbers = np.flatnonzero(target).tolist() if catalog.several else [int(target)]
        rows[result.copy.split].append((result.copy.target, join_labels([str(number) for number in numbers])))
    for name, lines in rows.items():
        if not lines:
            raise UserError(f"no {name} image of {catalog.root} can be read, such as {skipped[0][0]}")
        write_csv(folder / f"{name}.csv", [("image", "labels" if catalog.several else "class"), *sorted(lines)])
    write_csv(folder / "categories.csv", [("id", "label"), *enumerate(catalog.classes)])
    if skipped:
        write_csv(folder / "skipped.csv", [("image", "reason"), *sorted(skipped)])
    measured = [result.moments for result in written if result.moments is not None and result.copy.split == "train"]
    mean, std = mean_std(measured)
    write_mean_std(folder / MEAN_STD, mean, std, images=len(measured))
    return {name: len(lines) for name, lines in rows.items()}


def _stem(path: str) -> str:
    name = path.rpartition("/")[2]
    return (name.rpartition(".")[0] or name).lstrip(".") or "image"
