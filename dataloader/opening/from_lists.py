"""The catalog of images that lists name."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dataloader.opening.build_catalog import build_catalog, build_multi_label_catalog, unknown_class
from dataloader.opening.divide_images import HoldOut, cut_images
from dataloader.opening.from_folders import by_split_and_class
from dataloader.opening.saved_split import read_saved_split
from dataloader.sources.lists import Listing, join_labels
from dataloader.splits.catalog import Catalog, Origin, with_groups
from dataloader.splits.holdout import SplitLine
from dataloader.targets.label import Label, Labels
from dataloader.targets.target import Target
from utils.errors import UserError


def from_lists(
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
        raise UserError(f"{root} gives images several labels, but {asked_by} gives one; where each has one, call the column 'label'")
    # Data with one label per image also fits a multi-label task.
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
            saved, notes = read_saved_split(cut.split_file, cells, where="has '{}' in the list")
            entries = [(entry.path, labels[entry.path], entry.split) for entry in saved]
        else:
            entries = cut_images(labels, {image.path: image.group for image in listing.images}, cut, target)
    if require_train and whole is None and all(split != "train" for _, _, split in entries):
        raise UserError(f"{root} lists no train images; training needs a train.csv or a column 'split' that says train")
    _check_labels(listing, entries, classes)
    if target is Labels:
        found = build_multi_label_catalog(root, listing.folder, entries, classes, notes=notes, origin=origin, store=listing.store)
    else:
        grouped = by_split_and_class([SplitLine(path, join_labels(names), split) for path, names, split in entries])
        found = build_catalog(root, grouped, classes, notes=notes, origin=origin, folder=listing.folder, store=listing.store)
    return with_groups(replace(found, faults=listing.faults), {image.path: image.group for image in listing.images})


def with_note_of_doubles(catalog: Catalog) -> Catalog:
    """Return the catalog with a note where lists name an image twice."""
    doubles = [fault.message for fault in catalog.faults if fault.kind == "double"]
    if not doubles:
        return catalog
    more = f", and {len(doubles) - 1} more" if doubles[1:] else ""
    return replace(catalog, notes=(*catalog.notes, f"{doubles[0]}{more}; each image counts once"))


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
