"""Opens the images of a training: its split or fold, stamped, and looked at for leaks."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from applications.check import check_command
from applications.options import RunConfig
from applications.ranged import ranged
from dataloader.augment.chain import build_augment
from dataloader.catalog import Catalog, open_catalog, take_fold
from dataloader.integrity import find_leaks, stamp
from dataloader.white import shown
from utils.distributed import World
from utils.errors import UserError
from utils.logs import log


def open_training_data(config: RunConfig, world: World, split_file: Path | None, *, numbers: Mapping[str, Any] | None = None) -> Catalog:
    """Return the training catalog; the first process writes built-in sets, the others wait.

    Args:
        config: of the run.
        world: its processes.
        split_file: the split that a run has saved.
        numbers: those of preprocessing in a checkpoint, by which 16-bit files are scaled; without them, by their own range.

    Raises:
        UserError: there is no such data, or --aug cannot be built.
    """
    # Before the images are looked for: of two mistakes, this one is found in no time.
    build_augment(config.data.aug or "")

    def read() -> Catalog:
        found = open_catalog(
            config.data.data,
            seed=config.runtime.seed,
            val_share=config.data.val_share,
            test_share=config.data.test_share,
            split_file=split_file,
        )
        fold = config.data.fold
        return found if fold is None else take_fold(found, fold, seed=config.runtime.seed, split_file=split_file)

    catalog = read() if world.is_first else None
    world.gather(None)
    catalog = catalog or read()
    for note in catalog.notes:
        log().warning(note)
    if "val" not in catalog.splits:
        raise UserError(f"{catalog.root} has no val images; training needs some to choose the best weights")
    catalog = replace(catalog, splits={name: stamp(split) for name, split in catalog.splits.items()})
    if world.is_first:
        warn_of_leaks(config, catalog)
    if numbers is not None:
        return shown(catalog, numbers.get("white"))
    ranged_here = ranged(catalog, config.data.workers) if world.is_first else catalog
    white = world.gather(ranged_here.splits["train"].white)[0]
    return shown(catalog, white)


def warn_of_leaks(config: RunConfig, catalog: Catalog) -> None:
    """Say in one line how many images stand in two splits, byte for byte."""
    leaks = find_leaks(catalog)
    if not leaks:
        return
    earlier, later = (os.path.relpath(file, catalog.splits["train"].root) for file in leaks[0])
    what = "image of a later split stands" if len(leaks) == 1 else "images of later splits stand"
    log().warning(
        f"leakage: {len(leaks)} {what} in an earlier one too, byte for byte, such as {later} = {earlier}; "
        f"the figures are too good. See {check_command(config)}"
    )
