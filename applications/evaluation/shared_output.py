"""What every evaluation says and writes, whatever the task: the facts of metrics.json, unreadable images, the table, the figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from applications.assemble.seen_images import TRAINED_ON, Overlap
from applications.trained.checkpoint import Trained
from dataloader.sample import Unreadable
from dataloader.splits.split import Split
from utils.files import write_csv
from utils.logs import log
from utils.terminal_tables import print_table
from utils.text import FirstNames, counted

ROWS_ON_SCREEN = 40
UNREADABLE = "unreadable.csv"


def facts_of(trained: Trained, split: Split, *, calibration: Mapping[str, Any], unreadable: int, seen: Overlap | None) -> dict[str, Any]:
    """Return what metrics.json says besides the metrics: which weights, which images.

    Args:
        trained: the model.
        split: the images that were measured.
        calibration: what was chosen on validation images, as plain values.
        unreadable: how many more could not be read.
        seen: how many the model was trained on; None where it is not known.
    """
    return {
        "task": trained.task,
        "checkpoint": str(trained.path),
        "epoch": trained.epoch,
        "averaged": trained.averaging,
        **calibration,
        "data": str(split.root),
        "split": split.name,
        "images": len(split),
        "unreadable": unreadable,
        "exported_as": None if trained.exported is None else trained.exported.facts.exported_as,
        TRAINED_ON: None if seen is None else seen._asdict(),
    }


def write_unreadable(unreadable: Sequence[Unreadable], folder: Path) -> None:
    """Name the images that the figures go without, all of them in a file."""
    if not unreadable:
        return
    file = folder / UNREADABLE
    write_csv(file, [("image", "reason"), *((each.path, each.reason) for each in unreadable)])
    for each in unreadable[: FirstNames.MOST]:
        log().warning(f"cannot read {each.path}: {each.reason}")
    count = counted(len(unreadable), "image")
    log().warning(f"the figures go without {count} that cannot be read, listed in {file}; --strict stops instead")


def print_classes(rows: list[list[str]]) -> None:
    """Print the table of a task; of many rows, the first."""
    print_table(rows[0], rows[1 : ROWS_ON_SCREEN + 1])
    if len(rows) > ROWS_ON_SCREEN + 1:
        log().info(f"... and {len(rows) - ROWS_ON_SCREEN - 1} more classes in classes.csv")


def print_metrics(metrics: Mapping[str, float], split: Split, unreadable: int) -> None:
    """Print the metrics of a split in a line."""
    said = [f"{name.replace('_', ' ')} {value:.2%}" for name, value in metrics.items() if name != "loss"]
    said += [f"loss {metrics['loss']:.4f}"] if "loss" in metrics else []
    lost = f", {unreadable} more unreadable" if unreadable else ""
    log().info(f"{split.name}: {'  '.join(said)}  ({len(split)} images{lost})")
