"""The folder of a run: that of the checkpoint that goes on, or a new one, with the settings in it."""

import json
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from applications.settings.options import RunConfig, run_folder_parent
from applications.training.resume import goes_on_in_place
from applications.training.training_parts import TrainingParts
from dataloader.opening.saved_split import save_split
from utils.distributed import World, tell_run
from utils.files import locked, new_folder, write_text
from utils.logs import log, log_to_file


def new_run_folder(parts: TrainingParts, path: Path | None, locks: ExitStack) -> Path:
    """Return the folder of the run, with its settings, and its split where it was made here."""
    config, world = parts.config, parts.machine.world
    folder = _run_folder(config, world, path, parts.task.name, locks)
    log().info(f"run       {folder}")
    if world.is_first:
        write_text(folder / "config.json", json.dumps(config.to_dict(), indent=2) + "\n")
        if parts.catalog.split_origin == "seeded":
            save_split(parts.catalog, folder / "split.csv")
    return folder


def _run_folder(config: RunConfig, world: World, path: Path | None, kind: str, locks: ExitStack) -> Path:
    """Return the folder of the run: that of the checkpoint, or a new one."""
    if path is not None and goes_on_in_place(path):
        folder = str(path.parent)
    elif world.is_first:
        arch = config.model.arch.partition("(")[0].replace("/", "_").rpartition(":")[2]
        name = config.output.name or f"{datetime.now():%Y%m%d-%H%M%S}-{arch}"
        folder = str(new_folder(run_folder_parent(config.output, kind), name))
    else:
        folder = ""
    folder = Path(world.gather(folder)[0])
    if world.is_first:
        locks.enter_context(locked(folder / "log.txt"))
        log_to_file(folder / "log.txt")
        tell_run(folder)
    return folder
