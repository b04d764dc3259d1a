"""Evaluates a model by the contract of its task alone: figures, its table, its files. It keeps no row of an image."""

import json
from collections.abc import Sequence
from pathlib import Path

from applications.assemble import Machine
from applications.assemble.seen_images import Overlap
from applications.contract import Meter, Task
from applications.evaluation.shared_output import UNREADABLE, facts_of, print_classes, print_metrics, write_unreadable
from applications.report import REPORTS
from applications.trained.checkpoint import Trained, open_held_out, warn_of_seen_images
from applications.trained.inference import measure_split
from dataloader.sample import Unreadable
from dataloader.splits.split import Split
from utils.files import new_folder, removed_on_error, write_text
from utils.logs import log


def evaluate_by_contract(trained: Trained, task: Task, machine: Machine) -> int:
    """Measure a model on held-out images; return 0, or 1 when images could not be read."""
    split = open_held_out(trained, ("test", "val"))
    log().info(f"model     {trained.describe()}")
    log().info(f"data      {split.display_path}: {len(split)} {split.name} images")
    log().info(f"precision {trained.precision(machine)}")
    seen = warn_of_seen_images(trained, split) if machine.world.is_first else None
    unreadable: list[Unreadable] = []
    meter = measure_split(trained, split, task, machine, left_out=unreadable.extend)
    if machine.world.is_first:
        with removed_on_error(new_folder(trained.results_folder(), f"evaluation-{split.name}")) as folder:
            write_unreadable(unreadable, folder)
            _write(trained, split, task, meter, folder, unreadable, seen)
    return 1 if unreadable else 0


def _write(
    trained: Trained, split: Split, task: Task, meter: Meter, folder: Path, unreadable: Sequence[Unreadable], seen: Overlap | None
) -> None:
    metrics, paths = meter.figures(), [split.file(index) for index in range(len(split))]
    # Positions in a meter are those of the whole split.
    files = task.render(meter, paths, folder)
    lost = {each.path for each in unreadable}
    measured = split.subset([index for index, path in enumerate(paths) if path not in lost])
    facts = facts_of(trained, measured, calibration=task.calibration(), unreadable=len(unreadable), seen=seen)
    print_classes(task.table(meter))
    write_text(folder / "metrics.json", json.dumps({**facts, **metrics}, indent=2) + "\n")
    print_metrics(metrics, measured, len(unreadable))
    if trained.config.evaluation.report and task.name not in REPORTS:
        log().info(f"          without report.html, which --task {task.name} has not")
    files = [*files, folder / "metrics.json", *([folder / UNREADABLE] if unreadable else [])]
    log().info(f"written: {folder} ({', '.join(file.name for file in files)})")
