"""Measures a trained model on held-out images: figures, tables, pictures."""

import json
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

from rich.table import Table

from applications import assemble
from applications.assemble import Machine
from applications.calibration import calibrated, store_calibration
from applications.contract import Prediction, Task
from applications.engine.score import score
from applications.options import Request
from applications.report.embedding import Listener
from applications.report.material import Material, Overlay, as_percent, plain_floats
from applications.targets import Target, broken_by, describe_broken, measure_rejection, parse_target
from applications.trained import Trained, build_trained_task, load_trained, open_held_out, open_validation
from applications.views import Viewed, parse_views
from applications.waits import expected_evaluation
from dataloader.catalog import Split
from utils.distributed import close_world
from utils.errors import UserError
from utils.files import new_folder, removed_on_error, write_text
from utils.logs import console, log
from utils.progress import progress_bar

ROWS_ON_SCREEN = 40


def run(request: Request) -> int:
    """Evaluate the model of --resume; return the exit code."""
    machine = assemble.open_machine(request.config, training=False)
    try:
        trained = load_trained(request, machine.device)
        options = trained.config.evaluation
        target = parse_target(options.target, several=trained.task == assemble.SEVERAL_LABELS) if options.target else None
        split = open_held_out(trained, ("test", "val"))
        log().info(f"model     {trained.describe()}")
        log().info(f"data      {split.root}: {len(split)} {split.name} images")
        log().info(f"precision {machine.precision}")
        task = build_trained_task(trained, machine.device)
        viewed = _with_views(trained, task)
        wait = expected_evaluation(viewed, split, machine, report=options.report)
        if wait and machine.world.is_first:
            log().info(f"time      {wait}")
        if target is not None or options.calibrate:
            purpose = "--calibrate" if options.calibrate else "--target"
            prediction = predict_split(viewed, open_validation(trained, purpose), task, machine)
            trained = calibrated(trained, task, prediction, target, refit=options.calibrate)
            if options.calibrate and machine.world.is_first:
                store_calibration(trained)
        listener = Listener(trained.model, len(split)) if options.report else None
        start = time.perf_counter()
        prediction = predict_split(viewed, split, listener.around(task) if listener else task, machine)
        seconds = time.perf_counter() - start
        vectors = {index: vector for part in machine.world.gather(listener.vectors if listener else {}) for index, vector in part.items()}
        if machine.world.is_first:
            with removed_on_error(new_folder(trained.results_folder(), f"evaluation-{split.name}")) as folder:
                promise = str(target) if target is not None else ""
                heat = _heat_maps(trained) if options.report else None
                broken = _broken(trained, target, prediction)
                views = options.tta or ""
                _write(Material(trained, split, task, prediction, machine, folder, seconds, promise, views, heat, broken, vectors))
        return 0
    finally:
        close_world(machine.world)


def _broken(trained: Trained, target: Target | None, prediction: Prediction) -> dict[str, float]:
    """Return class -> share where the thresholds, which keep the target on val, do not keep it on these images."""
    thresholds = trained.reject if trained.thresholds is None else trained.thresholds
    if target is None or thresholds is None:
        return {}
    return broken_by(target, thresholds, prediction.targets.numpy(), prediction.probabilities.numpy(), trained.classes)


def _heat_maps(trained: Trained) -> Overlay | None:
    """Return what draws heat maps for the report, or None for a network that gives none."""
    from applications.cam import explain, open_eye

    try:
        # Found on use; asked for here, so that a network without maps costs the heat maps alone.
        _ = open_eye(trained).view
    except UserError as error:
        log().warning(f"the report comes without heat maps: {error}")
        return None
    return partial(explain, trained)


def _with_views(trained: Trained, task: Task) -> Trained:
    """Return the model as it looks at images: once, or at the views of --tta."""
    views = trained.config.evaluation.tta
    if not views:
        return trained
    network = Viewed(trained.model, parse_views(views, trained.config.data.image_size), task.criterion.activation)
    log().info(f"views     {len(network.views)} an image: {views}")
    return replace(trained, model=network.eval())


def predict_split(trained: Trained, split: Split, task: Task, machine: Machine) -> Prediction:
    """Return the predictions for every image of a split, with a progress bar on a terminal."""
    loader = assemble.build_loader(trained.config, split, trained.preprocess, machine, training=False)
    total = -(-len(split) // machine.world.size)
    with progress_bar(f"{split.name} images", total, shown=machine.world.is_first) as advance:
        try:
            return score(
                trained.model,
                task,
                loader.batches(0),
                device=machine.device,
                autocast=machine.autocast(),
                world=machine.world,
                advance=advance,
            )
        finally:
            loader.close()


def _write(material: Material) -> None:
    trained, split, task, prediction, folder = material.trained, material.split, material.task, material.prediction, material.folder
    metrics = task.metrics(prediction)
    files = task.render(prediction, [split.file(index) for index in range(len(split))], folder)
    facts = {
        "task": trained.task,
        "checkpoint": str(trained.path),
        "epoch": trained.epoch,
        "averaged": trained.averaging,
        "temperature": trained.temperature,
        "data": str(split.root),
        "split": split.name,
        "images": len(split),
    }
    _print_table(task.table(prediction))
    if trained.reject is not None:
        kept = measure_rejection(trained.reject, prediction.targets.numpy(), prediction.probabilities.numpy())[-1]
        facts |= plain_floats({"accepted": kept.coverage, "accepted_wrong": kept.error})
        log().info(
            f"accepted: {as_percent(kept.coverage)} of the answers reach their threshold, {as_percent(kept.error)} of those are wrong"
        )
    if material.target:
        facts |= {"target": material.target, "target_broken": plain_floats(material.broken)}
    if material.broken:
        said = describe_broken(material.target, material.broken, len(trained.classes))
        log().warning(f"--target {said}; its thresholds were chosen on val")
    write_text(folder / "metrics.json", json.dumps({**facts, **metrics}, indent=2) + "\n")
    shares = "  ".join(f"{name} {value:.2%}" for name, value in metrics.items() if name != "loss")
    log().info(f"{split.name}: {shares}  loss {metrics['loss']:.4f}  ({len(split)} images)")
    files.append(folder / "metrics.json")
    if trained.config.evaluation.report:
        # Its libraries take a second to load; an evaluation without a report does not wait for them.
        from applications.report.write import write_report

        with console().status("writing the report") if console().is_terminal else nullcontext():
            files += write_report(material)
    log().info(f"written: {folder} ({', '.join(file.name for file in files)})")


def _print_table(rows: list[list[str]]) -> None:
    table = Table(*rows[0][:1], box=None, pad_edge=False)
    for name in rows[0][1:]:
        table.add_column(name, justify="right")
    for row in rows[1 : ROWS_ON_SCREEN + 1]:
        table.add_row(*row)
    console().print(table)
    if len(rows) > ROWS_ON_SCREEN + 1:
        log().info(f"... and {len(rows) - ROWS_ON_SCREEN - 1} more classes in classes.csv")
