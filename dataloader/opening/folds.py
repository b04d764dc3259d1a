"""One of K parts of the training and validation images as val."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from dataloader.opening.saved_split import gone, label_cell, label_names, members_of, not_used
from dataloader.splits.catalog import Catalog, groups_of, rearranged
from dataloader.splits.groups import count_groups, group_folds
from dataloader.splits.holdout import fold_numbers, parse_fold, read_split_file
from dataloader.targets.defect import Defect
from utils.errors import UserError
from utils.text import counted


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
        return replace(found, notes=(*found.notes, *not_used(sorted(set(pooled) - places.keys()), split_file)))
    parts = [catalog.splits[name] for name in ("train", "val") if name in catalog.splits]
    everything = [(path, target) for part in parts for path, target in members_of(part)]
    pool = [(path, target) for path, target in everything if not (catalog.target is Defect and target)]
    if groups := groups_of(parts):
        groups = {path: groups.get(path, "") for path, _ in pool}
        numbers = group_folds({path: label_names(catalog, target) for path, target in pool}, groups, count, seed=seed)
        what = f"{counted(count_groups(groups), 'group')} of images"
    else:
        numbers = fold_numbers({path: label_cell(catalog, target) for path, target in pool}, count, seed=seed)
        what = counted(len(numbers), "image")
    sizes = Counter(numbers.values())
    if not all(sizes[part] for part in range(count)):
        if sizes[-1] == len(numbers):
            raise UserError(f"--fold {fold}: no class has two {'groups' if groups else 'images'}, of which one could validate; add some")
        raise UserError(f"--fold {fold}: {what} are too few for {count} parts; write a smaller K")
    dealt = {path: "val" if place == number else "train" for path, place in numbers.items()}
    return rearranged(catalog, {path: dealt.get(path, "val") for path, _ in everything})
