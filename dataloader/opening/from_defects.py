"""The catalog of good parts and parts with defects: training and held-out good images, and defects to measure on."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from dataloader.opening.named_groups import read_groups
from dataloader.sources.defect_folders import DefectImages, DefectTruths, read_defect_folders, read_defect_list
from dataloader.sources.lists import Listing
from dataloader.splits.catalog import Catalog, with_groups
from dataloader.splits.groups import hold_out_groups
from dataloader.splits.holdout import hold_out, read_split_file
from dataloader.splits.split import SPLIT_NAMES, Origin, Split
from dataloader.targets.defect import GOOD, Defect
from utils.errors import UserError
from utils.text import counted

CLASSES = (GOOD, "defect")
# Two to learn what differs among good images, one to hold out.
FEWEST = 3


def open_defects(
    root: Path,
    listing: Listing | None,
    *,
    seed: int,
    val_share: float,
    test_share: float,
    group_by: str | None = None,
    split_file: Path | None = None,
    whole: str | None = None,
    require_train: bool = True,
) -> Catalog:
    """Return the catalog of `root`, a folder, or of a list.

    Where no val folder says otherwise, good images are held out of train, by which thresholds are chosen. Defects are never learned from.

    Args:
        root: the folder, or the list.
        listing: the images of the list; None for a folder.
        seed, val_share, test_share: of good images that are held out; the test has a share of its own where no split is given.
        group_by: names the groups of images that stay together, see `read_groups`.
        split_file: written by `save_split` for the same images; takes precedence over the seed.
        whole: name of the split that takes a data set without splits as a whole, defects included.
        require_train: whether good images to learn from are needed.

    Raises:
        UserError: there are no good images, too few, or training has defects.
    """
    found = read_defect_folders(root) if listing is None else read_defect_list(root, listing)
    folder = root if listing is None else listing.folder
    named = {} if listing is None else {image.path: image.group for image in listing.images}
    groups = named if group_by is None else read_groups(group_by, list(found.kinds))
    splits, origin = dict(found.splits), "folders" if listing is None else "lists"
    held = None in splits.values() or ("train" in splits.values() and "val" not in splits.values())
    if whole is not None and not found.divided:
        splits = dict.fromkeys(splits, whole)
    elif split_file is not None and held:
        (splits, notes), origin = _from_file(split_file, found), "seeded"
        found = replace(found, notes=(*found.notes, *notes))
    elif held:
        splits, origin = _held_out(found, groups, seed=seed, val_share=val_share, test_share=test_share), "seeded"
    if require_train and "train" not in splits.values():
        raise UserError(f"{root} holds no good images to learn from: add train/good")
    return with_groups(_catalog(root, folder, found, splits, origin), groups)


def _from_file(split_file: Path, found: DefectImages) -> tuple[dict[str, str | None], list[str]]:
    """Return where every image goes, and notes: the good ones to learn from where the file says, the others where their folder says."""
    places = {entry.path: entry.split for entry in read_split_file(split_file)}
    missing = sorted(places.keys() - found.splits.keys())
    if missing:
        many = counted(len(missing), "image that is", "images that are")
        raise UserError(f"{split_file} names {many} not there, such as {missing[0]}; restore the files, or remove their lines from it")
    pool = _pool(found)
    new = sorted(set(pool) - places.keys())
    notes = [f"{counted(len(new), 'image is', 'images are')} not in {split_file} and not used, such as {new[0]}"] if new else []
    return {**found.splits, **{path: places.get(path) for path in pool}}, notes


def _pool(found: DefectImages) -> list[str]:
    """Return the good images of which some are held out."""
    return [path for path, split in found.splits.items() if split == ("train" if found.divided else None)]


def _held_out(found: DefectImages, groups: Mapping[str, str], *, seed: int, val_share: float, test_share: float) -> dict[str, str | None]:
    """Return where every image goes, with good images held out for val, and for the test where nothing says what tests."""
    pool = _pool(found)
    if len(pool) < FEWEST:
        raise UserError(
            f"{counted(len(pool), 'good image')} to learn from: anomaly detection needs {FEWEST} or more, of which one is held out to "
            "choose the threshold; dozens make it trustworthy"
        )
    # A folder of good images alone has no defects to test on; its held-out images tell of false alarms.
    shares = {"val_share": val_share, "test_share": test_share if not found.divided and "test" in found.splits.values() else 0.0}
    if any(groups.get(path) for path in pool):
        places = hold_out_groups(dict.fromkeys(pool, (GOOD,)), {path: groups.get(path, "") for path in pool}, seed=seed, **shares)
    else:
        places = {entry.path: entry.split for entry in hold_out({GOOD: sorted(pool)}, seed=seed, **shares)}
    return {**found.splits, **places}


def _catalog(root: Path, folder: Path, found: DefectImages, places: Mapping[str, str | None], origin: Origin) -> Catalog:
    truths, splits = DefectTruths(folder, found.kinds, found.masks), {}
    for name in SPLIT_NAMES:
        # By kind, then by path, good ones first.
        paths = sorted((path for path, split in places.items() if split == name), key=lambda path: (found.kinds[path] != GOOD, path))
        if paths:
            targets = np.array([found.kinds[path] != GOOD for path in paths], np.int64)
            splits[name] = Split(name, folder, tuple(paths), targets, truths=truths, given_path=root)
    return Catalog(root, CLASSES, splits, found.notes, origin, target=Defect)
