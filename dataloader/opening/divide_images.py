"""Images without a split, divided into train, val and test."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dataloader.opening.saved_split import gone, label_names, members_of, not_used
from dataloader.splits.catalog import Catalog, groups_of, rearranged
from dataloader.splits.groups import hold_out_groups
from dataloader.splits.holdout import hold_out, hold_out_labels, read_split_file
from dataloader.targets.target import Target
from utils.errors import UserError

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


def cut_images(
    labels: Mapping[str, Sequence[str]], groups: Mapping[str, str], cut: HoldOut, target: type[Target]
) -> list[tuple[str, Sequence[str], str]]:
    """Return (path, labels, split) of images, split into train, val and test."""
    shares = {"val_share": VAL_SHARE if cut.val_share is None else cut.val_share, "test_share": cut.test_share}
    if any(groups.values()):
        return [(path, labels[path], split) for path, split in hold_out_groups(labels, groups, seed=cut.seed, **shares).items()]
    if target.is_one_class:
        return [(entry.path, labels[entry.path], entry.split) for entry in hold_out(_by_class(labels), seed=cut.seed, **shares)]
    return hold_out_labels(labels, seed=cut.seed, **shares)


def with_val(catalog: Catalog, cut: HoldOut) -> Catalog:
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
        return replace(found, notes=(*found.notes, *not_used(sorted(set(train.paths) - places.keys()), cut.split_file)))
    if cut.val_share is None:
        return catalog
    labels = {path: label_names(catalog, target) for path, target in members_of(train)}
    entries = cut_images(labels, groups_of([train]), cut._replace(test_share=0.0), catalog.target)
    places = {path: split for path, _, split in entries}
    return rearranged(catalog, places) if "val" in places.values() else catalog


def _by_class(labels: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path, (name,) in labels.items():
        found.setdefault(name, []).append(path)
    return found
