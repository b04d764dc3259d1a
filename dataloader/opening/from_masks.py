"""The catalog of images with masks."""

from collections.abc import Iterable

import numpy as np

from dataloader.opening.held_out import HoldOut, cut_images, with_val
from dataloader.opening.named_groups import read_groups
from dataloader.opening.saved_split import read_saved_split
from dataloader.sources.mask_sets import LAYOUT as MASK_LAYOUT
from dataloader.sources.mask_sets import MaskSet
from dataloader.splits.catalog import Catalog, Origin, with_groups
from dataloader.splits.split import SPLIT_NAMES, Split
from dataloader.targets.label import Label
from dataloader.targets.mask import Mask
from utils.errors import UserError


def from_masks(found: MaskSet, *, cut: HoldOut, group_by: str | None, require_train: bool, whole: str | None) -> Catalog:
    """Return the catalog of images with masks, split by their folders, their lists, or here."""
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
            entries, more = read_saved_split(cut.split_file, dict.fromkeys(everything, ""), where="has {}")
            notes += more
            images = _by_split((entry.path, entry.split) for entry in entries)
        else:
            images = _by_split((path, split) for path, _, split in cut_images(dict.fromkeys(everything, ("",)), groups, cut, Label))
    if require_train and "train" not in images:
        raise UserError(f"{root} holds {', '.join(images)} but no train images. Expected {MASK_LAYOUT}")
    splits = {}
    for name in (each for each in SPLIT_NAMES if each in images):
        chosen = tuple(images[name])
        splits[name] = Split(name, root, chosen, np.zeros(len(chosen), np.int64), given_path=root, truths=truths)
    catalog = Catalog(root, truths.classes, splits, tuple(notes), origin, target=Mask)
    return with_val(with_groups(catalog, groups), cut)


def _by_split(places: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path, split in places:
        found.setdefault(split, []).append(path)
    return found
