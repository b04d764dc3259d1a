"""The catalog of images with masks or boxes."""

from collections.abc import Iterable

import numpy as np

from dataloader.opening.divide_images import HoldOut, cut_images, with_val
from dataloader.opening.named_groups import read_groups
from dataloader.opening.saved_split import read_saved_split
from dataloader.sources.truth_set import TruthSet
from dataloader.splits.catalog import Catalog, Origin, with_groups
from dataloader.splits.split import SPLIT_NAMES, LineFault, Split
from dataloader.targets.label import Label
from dataloader.targets.target import Target
from utils.errors import UserError


def from_truths(
    found: TruthSet, target: type[Target], layout: str, *, cut: HoldOut, group_by: str | None, require_train: bool, whole: str | None
) -> Catalog:
    """Return the catalog of images with masks or boxes, split by their folders, their lists, or here.

    Args:
        found: the images.
        target: of the catalog.
        layout: what was expected, for messages.
        cut, group_by, require_train, whole: of `open_catalog`.
    """
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
        raise UserError(f"{root} holds {', '.join(images)} but no train images. Expected {layout}")
    splits = {}
    for name in (each for each in SPLIT_NAMES if each in images):
        chosen = tuple(images[name])
        splits[name] = Split(name, root, chosen, np.zeros(len(chosen), np.int64), given_path=root, truths=truths)
    faults = tuple(LineFault("box", each) for each in found.faults)
    catalog = Catalog(root, truths.classes, splits, tuple(notes), origin, target=target, faults=faults)
    return with_val(with_groups(catalog, groups), cut)


def _by_split(places: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path, split in places:
        found.setdefault(split, []).append(path)
    return found
