"""The content of a prepared folder: the path of every image, and the tables next to them."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataloader.images.mean_std import mean_std, write_mean_std
from dataloader.sources.lists import join_labels
from dataloader.splits.catalog import Catalog
from dataloader.splits.integrity import fingerprint
from dataloader.writers.resized import ResizeJob, ResizeResult, suffix_for
from utils.errors import UserError
from utils.files import write_csv

MEAN_STD = "mean_std.json"
_FORBIDDEN = frozenset("/\\\0\n\r")


def plan_copies(catalog: Catalog) -> list[ResizeJob]:
    """Return the new path of every image: SPLIT/CLASS/NAME, or SPLIT/NAME where images are multi-label.

    The name is that of the image; where two would be equal, each gets a hash of its path. The result depends only on the data.

    Raises:
        UserError: the name of a class cannot be the name of a folder.
    """
    if catalog.target.is_one_class:
        for name in catalog.classes:
            if name in ("", ".", "..") or name.startswith(".") or _FORBIDDEN & set(name):
                raise UserError(f"{catalog.root}: the class '{name}' cannot be the name of a folder; rename it")
    copies = []
    for split in catalog.splits.values():
        folders = [split.name] * len(split)
        if catalog.target.is_one_class:
            folders = [f"{split.name}/{catalog.classes[int(target)]}" for target in split.targets]
        names = [_stem(path) for path in split.paths]
        # Some file systems ignore case.
        taken = Counter((folder, name.casefold()) for folder, name in zip(folders, names, strict=True))
        for index, (folder, name, path) in enumerate(zip(folders, names, split.paths, strict=True)):
            if taken[folder, name.casefold()] > 1:
                name += "-" + hashlib.blake2b(path.encode(errors="surrogateescape"), digest_size=5).hexdigest()
            copies.append(ResizeJob(split.name, index, f"{folder}/{name}{suffix_for(path)}"))
    return copies


def fingerprints(catalog: Catalog) -> dict[str, Any]:
    """Return plain values that change when the images, the classes, the splits or the groups do."""
    splits = {name: fingerprint(split) for name, split in catalog.splits.items()}
    # Store only a hash of the source path, since the written folder may be shared.
    place = hashlib.blake2b(os.fsencode(catalog.root.resolve()), digest_size=8).hexdigest()
    named = {name: split.groups for name, split in catalog.splits.items() if any(split.groups)}
    groups = {"groups": hashlib.blake2b(json.dumps(named).encode(), digest_size=8).hexdigest()} if named else {}
    return {"data": place, "classes": list(catalog.classes), "split": splits, **groups}


def write_tables(catalog: Catalog, written: Sequence[ResizeResult], folder: Path) -> dict[str, int]:
    """Write train.csv, val.csv, test.csv, categories.csv, mean_std.json and, if images were skipped, skipped.csv.

    Return the number of images per split.

    Raises:
        UserError: no image of a split could be read.
    """
    rows: dict[str, list[tuple[str, ...]]] = {name: [] for name in catalog.splits}
    grouped = any(any(split.groups) for split in catalog.splits.values())
    skipped = []
    for result in written:
        if result.moments is None:
            skipped.append((catalog.splits[result.copy.split].file(result.copy.index), result.reason))
            continue
        split, index = catalog.splits[result.copy.split], result.copy.index
        numbers = catalog.target.class_numbers(split.targets[index])
        group = ((split.groups[index] if split.groups else ""),) if grouped else ()
        rows[result.copy.split].append((result.copy.destination, join_labels([str(number) for number in numbers]), *group))
    header = ("image", "class" if catalog.target.is_one_class else "labels", *(("group",) if grouped else ()))
    for name, lines in rows.items():
        if not lines:
            raise UserError(f"no {name} image of {catalog.root} can be read, such as {skipped[0][0]}")
        write_csv(folder / f"{name}.csv", [header, *sorted(lines)])
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
