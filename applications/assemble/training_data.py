"""Opens the images of a training: its split or fold, stamped, and looked at for leaks."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from applications.assemble.sixteen_bit_range import scale_sixteen_bit_range
from applications.settings.commands import check_command
from applications.settings.options import RunConfig
from applications.tasks import TASKS
from dataloader.opening.divide_images import VAL_SHARE
from dataloader.opening.early_mask_check import check_masks
from dataloader.opening.folds import take_fold
from dataloader.opening.open_catalog import open_catalog
from dataloader.opening.saved_split import label_names
from dataloader.splits.catalog import Catalog, groups_of
from dataloader.splits.integrity import find_leaks, find_torn_groups, stamp
from dataloader.splits.split import Split
from dataloader.splits.white_value import with_white
from dataloader.targets.boxes import Boxes
from utils.distributed import World
from utils.errors import UserError
from utils.logs import log
from utils.text import counted

# Seconds in which the masks of a split are looked at before a run. One of two megapixels takes about 25 ms on two cores, the first time.
MASK_SECONDS = 20.0


def open_training_data(config: RunConfig, world: World, split_file: Path | None, *, numbers: Mapping[str, Any] | None = None) -> Catalog:
    """Return the training catalog; the first process writes built-in sets, the others wait.

    Args:
        config: of the run.
        world: its processes.
        split_file: the split that a run has saved.
        numbers: those of preprocessing in a checkpoint, by which 16-bit files are scaled; without them, by their own range.

    Raises:
        UserError: there is no such data.
    """

    task = config.train.task

    def read() -> Catalog:
        found = open_catalog(
            config.data.data,
            seed=config.split_seed,
            val_share=config.data.val_share,
            test_share=config.data.test_share,
            group_by=config.data.group_by,
            split_file=split_file,
            target=None if task is None else TASKS.resolve(task).target,
            asked_by=f"--task {task}",
            reading=config.truths.reading(),
        )
        fold = config.data.fold
        return found if fold is None else take_fold(found, fold, seed=config.split_seed, split_file=split_file)

    catalog = read() if world.is_first else None
    world.gather(None)
    catalog = catalog or read()
    for note in catalog.notes:
        log().warning(note)
    if "val" not in catalog.splits:
        raise UserError(f"{catalog.root} has no val images; training needs some to choose the best weights. {_way_on(catalog)}")
    if world.is_first and (groups := groups_of(catalog.splits.values())):
        sizes = Counter(group for group in groups.values() if group)
        alone = len(groups) - sum(sizes.values())
        more = f", {counted(alone, 'image')} in none" if alone else ""
        log().info(f"groups    {len(sizes):,} of {min(sizes.values())} to {counted(max(sizes.values()), 'image')}{more}")
    catalog = replace(catalog, splits={name: stamp(split) for name, split in catalog.splits.items()})
    if world.is_first:
        warn_of_leaks(config, catalog)
        _look_at_masks(catalog)
        _look_at_boxes(catalog)
    if numbers is not None:
        return with_white(catalog, numbers.get("white"))
    ranged_here = scale_sixteen_bit_range(catalog, config.data.workers) if world.is_first else catalog
    white = world.gather(ranged_here.splits["train"].white)[0]
    return with_white(catalog, white)


def _look_at_masks(catalog: Catalog) -> None:
    """Look at the masks that a run will read; those of the test images, which it will not, are worth a warning.

    Raises:
        UserError: one cannot be used.
    """
    for name in ("val", "train", "test"):
        if name not in catalog.splits:
            continue
        try:
            look_at_masks(catalog.splits[name])
        except UserError as error:
            if name != "test":
                raise
            log().warning(f"the test images cannot be evaluated as they are: {error}")


def _look_at_boxes(catalog: Catalog) -> None:
    """Look for boxes to learn and to measure by.

    Raises:
        UserError: no training image has one.
    """
    if catalog.target is not Boxes:
        return
    for name in ("train", "val"):
        split = catalog.splits.get(name)
        if split is None or split.truths is None or split.truths.count(split.paths).any():
            continue
        said = f"none of {len(split)} {name} images of {catalog.root} has a box"
        if name == "train":
            raise UserError(f"{said}: there is nothing to learn; are these the right labels? --check looks at them")
        log().warning(f"{said}: AP stays 0, and no epoch is better than another; hold out images with objects (--val_share)")


def look_at_masks(split: Split) -> None:
    """Look at the masks of a split before hours are spent on it, for at most `MASK_SECONDS`; images without masks pass.

    Raises:
        UserError: a mask holds what has no name, or has another size than its image.
    """
    seen = check_masks(split.truths, split.root, split.paths, seconds=MASK_SECONDS)
    if 0 < seen < len(split):
        log().info(f"masks     {seen:,} of {len(split):,} {split.name} masks were looked at in {MASK_SECONDS:g} s; --check looks at all")


def _way_on(catalog: Catalog) -> str:
    """Return what to do about a data set without validation images."""
    train = catalog.splits["train"]
    labels = Counter(label for _, target in zip(train.paths, train.targets, strict=True) for label in label_names(catalog, target))
    if max(labels.values(), default=0) < 3:
        return "No class has the three images of which one could be held out: add some, or give val/ of its own"
    share = f"{VAL_SHARE:g} holds out that share of train" + (" (a share above 0)" if catalog.split_origin == "seeded" else "")
    return f"Add val/, or --val_share {share}, or --fold 0/5 validates on a fifth of train (docs/data.md)"


def warn_of_leaks(config: RunConfig, catalog: Catalog) -> None:
    """Say how many groups, and how many images byte for byte, stand in two splits, a line each."""
    if torn := find_torn_groups(catalog):
        what = "group stands" if len(torn) == 1 else "groups stand"
        log().warning(
            f"leakage: {len(torn)} {what} in two splits, such as {next(iter(torn))}: images of one object are learned and tested; "
            f"the figures are too good. See {check_command(config)}"
        )
    leaks = find_leaks(catalog)
    if not leaks:
        return
    earlier, later = (os.path.relpath(file, catalog.splits["train"].root) for file in leaks[0])
    what = "image of a later split stands" if len(leaks) == 1 else "images of later splits stand"
    log().warning(
        f"leakage: {len(leaks)} {what} in an earlier one too, byte for byte, such as {later} = {earlier}; "
        f"the figures are too good. See {check_command(config)}"
    )
