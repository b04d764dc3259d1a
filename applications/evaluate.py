"""Measures a trained model on held-out images: figures, tables, pictures."""

import json
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from applications import assemble
from applications.assemble import Machine
from applications.contract import Prediction, Task
from applications.engine.score import score
from applications.options import Request
from applications.trained import Trained, build_trained_task, load_trained, open_held_out
from dataloader.catalog import Split
from utils.distributed import close_world
from utils.files import new_folder, removed_on_error, write_text
from utils.logs import console, log

ROWS_ON_SCREEN = 40


def run(request: Request) -> int:
    """Evaluate the model of --resume; return the exit code."""
    machine = assemble.open_machine(request.config, training=False)
    try:
        trained = load_trained(request, machine.device)
        split = open_held_out(trained, ("test", "val"))
        log().info(f"model     {trained.describe()}")
        log().info(f"data      {split.root}: {len(split)} {split.name} images")
        log().info(f"precision {machine.precision}")
        task = build_trained_task(trained, machine.device)
        prediction = predict_split(trained, split, task, machine)
        if machine.world.is_first:
            _report(trained, split, task, prediction)
        return 0
    finally:
        close_world(machine.world)


def predict_split(trained: Trained, split: Split, task: Task, machine: Machine) -> Prediction:
    """Return the predictions for every image of a split, with a progress bar on a terminal."""
    loader = assemble.build_loader(trained.config, split, trained.preprocess, machine, training=False)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("left"), TimeRemainingColumn())
    shown = machine.world.is_first and console().is_terminal
    with Progress(*columns, console=console(), transient=True, disable=not shown) as bar:
        line = bar.add_task(f"{split.name} images", total=-(-len(split) // machine.world.size))
        try:
            return score(
                trained.model,
                task,
                loader.batches(0),
                device=machine.device,
                autocast=machine.autocast(),
                world=machine.world,
                advance=lambda samples: bar.advance(line, samples),
            )
        finally:
            loader.close()


def _report(trained: Trained, split: Split, task: Task, prediction: Prediction) -> None:
    with removed_on_error(new_folder(trained.results_folder(), f"evaluation-{split.name}")) as folder:
        _write(trained, split, task, prediction, folder)


def _write(trained: Trained, split: Split, task: Task, prediction: Prediction, folder: Path) -> None:
    metrics = task.metrics(prediction)
    files = task.render(prediction, [split.file(index) for index in range(len(split))], folder)
    facts = {
        "checkpoint": str(trained.path),
        "epoch": trained.epoch,
        "averaged": trained.averaging,
        "split": split.name,
        "images": len(split),
    }
    write_text(folder / "metrics.json", json.dumps({**facts, **metrics}, indent=2) + "\n")
    _print_table(task.table(prediction))
    shares = "  ".join(f"{name} {value:.2%}" for name, value in metrics.items() if name != "loss")
    log().info(f"{split.name}: {shares}  loss {metrics['loss']:.4f}  ({len(split)} images)")
    log().info(f"written: {folder} ({', '.join(file.name for file in [*files, folder / 'metrics.json'])})")


def _print_table(rows: list[list[str]]) -> None:
    table = Table(*rows[0][:1], box=None, pad_edge=False)
    for name in rows[0][1:]:
        table.add_column(name, justify="right")
    for row in rows[1 : ROWS_ON_SCREEN + 1]:
        table.add_row(*row)
    console().print(table)
    if len(rows) > ROWS_ON_SCREEN + 1:
        log().info(f"... and {len(rows) - ROWS_ON_SCREEN - 1} more classes in classes.csv")
