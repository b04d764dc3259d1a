"""Open a data set: its classes and the images of every split. Classes are never silently renumbered."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from dataloader import SOURCES
from dataloader.opening.divide_images import VAL_SHARE, HoldOut, with_val
from dataloader.opening.from_defects import open_defects
from dataloader.opening.from_folders import LAYOUT, TRY, from_folders
from dataloader.opening.from_lists import from_lists, with_note_of_doubles
from dataloader.opening.from_truths import from_truths
from dataloader.opening.named_groups import with_named_groups
from dataloader.opening.truth_kinds import TRUTH_KINDS, TruthKind
from dataloader.sources.defect_folders import looks_like_defect_folders
from dataloader.sources.lists import Listing, find_lists, is_list_name, read_lists
from dataloader.sources.saved_tables import is_saved_table, read_saved_table
from dataloader.sources.shards import expand, find_shards, is_shard_name, read_shards
from dataloader.splits.catalog import Catalog
from dataloader.targets.defect import Defect
from dataloader.targets.label import Label
from dataloader.targets.target import Target
from dataloader.truth_reading import USUAL, TruthReading
from utils.errors import UserError, closest
from utils.registry import is_user_code


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
    reading: TruthReading = USUAL,
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
        reading: how masks and boxes are read, where the data has some.
        home: where built-in sources are written.

    Raises:
        UserError: there is no such folder, its layout is unknown, a class is empty or unknown, or the target is of another type.
    """
    cut = HoldOut(seed, val_share, test_share, split_file)
    of_truths = {"cut": cut, "group_by": group_by, "require_train": require_train, "whole": whole}
    for kind in TRUTH_KINDS:
        if (place := _truth_place(data, home, kind, target)) is not None:
            return from_truths(kind.read(place, reading, classes, tolerant=tolerant), kind.target, kind.layout, **of_truths)
    root, listing = _open(data, home, tolerant=tolerant)
    if target is Defect or (target is None and listing is None and looks_like_defect_folders(root)):
        shares = {"val_share": VAL_SHARE if val_share is None else val_share, "test_share": test_share}
        more = {"group_by": group_by, "split_file": split_file, "whole": whole, "require_train": require_train}
        return open_defects(root, listing, seed=seed, **shares, **more)
    if listing is not None:
        found = from_lists(
            root,
            with_named_groups(listing, root, group_by),
            classes,
            cut=cut,
            require_train=require_train,
            whole=whole,
            target=target,
            asked_by=asked_by,
        )
        return with_val(found if tolerant else with_note_of_doubles(found), cut)
    if target not in (None, Label):
        raise UserError(
            f"{root} holds class folders, one label per image, but {asked_by} gives {target.per_image}: name a list, --data FILE.csv"
        )
    return from_folders(root, data, classes, cut=cut, group_by=group_by, require_train=require_train, whole=whole, tolerant=tolerant)


def _truth_place(data: str, home: Path, kind: TruthKind, target: type[Target] | None) -> Path | None:
    """Return the folder or the file of images with truths of a kind, where a task asks for them, or the files say so; else None."""
    if target not in (None, kind.target):
        return None
    if data in SOURCES or (is_user_code(data) and not os.path.exists(data)):
        return Path(SOURCES.resolve(data)(home)) if target is kind.target else None
    place = Path(data).expanduser()
    if target is None:
        return place if kind.recognized(place) else None
    if not place.exists():
        raise UserError(f"--data {data} is not there.{_meant(data)} Expected {kind.layout}")
    if place.is_file() and not kind.of_files:
        raise UserError(f"--data {data} is a file; {kind.target.per_image} is read from a folder. Expected {kind.layout}")
    return place


def _open(data: str, home: Path, *, tolerant: bool) -> tuple[Path, Listing | None]:
    """Return the root of the images, and the listing there; None for class folders."""
    if data in SOURCES or (is_user_code(data) and not os.path.exists(data)):
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
