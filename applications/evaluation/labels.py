"""Evaluates a classifier: figures, calibration, thresholds that keep a promise, tables, the report."""

import json
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from applications.assemble import Machine
from applications.calibration.calibrate import calibrated, cross_checked, store_calibration
from applications.calibration.promises import CONFIDENCE, Promise, ThresholdChoice, parse_promise
from applications.calibration.threshold_outcome import (
    describe_broken,
    describe_choice,
    describe_unmet,
    measure_rejection,
    refuse_empty,
)
from applications.contract import Task
from applications.engine.unreadable import UnreadableHeldOutImages
from applications.evaluation.shared_output import UNREADABLE, facts_of, print_classes, print_metrics, write_unreadable
from applications.evaluation.time_estimate import expected_evaluation
from applications.report.embedding import ClassifierInputRecorder
from applications.report.measured import GROUPS
from applications.report.measured_labels import MeasuredLabels, Overlay
from applications.report.report_part import as_percent, plain_floats
from applications.tasks.label_meter import LabelMeter
from applications.tasks.label_prediction import Prediction
from applications.tasks.label_task import LabelTask
from applications.trained.checkpoint import Trained, open_held_out, open_validation, warn_of_seen_images
from applications.trained.inference import measure_split
from applications.trained.probe_figures import PROBE, describe_probe
from applications.trained.viewed_networks import AveragedLabels
from applications.trained.views import parse_views
from dataloader.sample import Unreadable
from dataloader.splits.split import Split
from utils.errors import UserError
from utils.files import new_folder, removed_on_error, write_csv, write_text
from utils.logs import console, log
from utils.metrics.grouped_statistics import number_groups
from utils.text import counted


def evaluate_labels(trained: Trained, task: Task, machine: Machine) -> int:
    """Measure a model on held-out images; return 0, or 1 when images could not be read."""
    assert isinstance(task, LabelTask)
    options = trained.config.evaluation
    promise = parse_promise(options.target, task.promises) if options.target else None
    split = open_held_out(trained, ("test", "val"))
    log().info(f"model     {trained.describe()}")
    if told := trained.saved.get(PROBE):
        log().info(f"probe     {describe_probe(told)}")
    log().info(f"data      {split.display_path}: {len(split)} {split.name} images")
    log().info(f"precision {trained.precision(machine)}")
    known = warn_of_seen_images(trained, split) if machine.world.is_first else None
    viewed = _with_views(trained, task)
    wait = expected_evaluation(viewed, task, split, machine, report=options.report)
    if wait and machine.world.is_first:
        log().info(f"time      {wait}")
    choice = None
    if promise is not None or options.calibrate:
        trained, choice = _calibrated(trained, viewed, task, promise, machine)
    listener = ClassifierInputRecorder(trained.model, len(split)) if options.report else None
    start = time.perf_counter()
    unreadable: list[Unreadable] = []
    meter = measure_split(viewed, split, listener.around(task) if listener else task, machine, left_out=unreadable.extend)
    assert isinstance(meter, LabelMeter)
    seconds = time.perf_counter() - start
    vectors = dict(listener.vectors) if listener else {}
    for more in machine.world.sent_to_first(vectors.copy):
        vectors |= more
    if machine.world.is_first:
        with removed_on_error(new_folder(trained.results_folder(), f"evaluation-{split.name}")) as folder:
            heat = _heat_maps(trained) if options.report else None
            write_unreadable(unreadable, folder)
            prediction = meter.prediction
            del meter
            if unreadable:
                vectors = {row: vectors[index] for row, index in enumerate(prediction.indices.tolist()) if index in vectors}
                split, prediction = _readable(split, prediction)
            views, lost = options.tta or "", len(unreadable)
            _write(
                MeasuredLabels(
                    trained=trained, split=split, task=task, prediction=prediction, machine=machine, folder=folder, seconds=seconds,
                    promise=promise, choice=choice, views=views, overlay=heat, unreadable=lost, seen=known, vectors=vectors,
                )
            )  # fmt: skip
    return 1 if unreadable else 0


def _calibrated(
    trained: Trained, viewed: Trained, task: LabelTask, promise: Promise | None, machine: Machine
) -> tuple[Trained, ThresholdChoice | None]:
    """Return the model with what --target and --calibrate choose on val images, and what the thresholds rest on.

    The rows of the val images are freed before the split is measured.
    """
    refit, world = trained.config.evaluation.calibrate, machine.world
    purpose, left_out = "--calibrate" if refit else "--target", UnreadableHeldOutImages()
    held = open_validation(trained, purpose)
    meter = measure_split(viewed, held, task, machine, left_out=left_out)
    assert isinstance(meter, LabelMeter)
    if left_out.count:
        log().warning(f"{purpose} chooses without {counted(left_out.count, 'unreadable val image')}")
    choice = None
    if world.is_first:
        prediction = meter.prediction
        groups = number_groups([held.groups[index] for index in prediction.indices.tolist()] if held.groups else ())
        trained, choice = calibrated(trained, task, prediction, promise, refit=refit, groups=groups)
    # Chosen once: the rows are on the first process alone.
    task.chosen, choice = world.gather((trained.calibration, choice))[0]
    trained = replace(trained, calibration=task.chosen)
    if promise is not None and choice is not None:
        _announce(promise, choice, trained)
    if refit and world.is_first:
        store_calibration(trained)
    return trained, choice


def _readable(split: Split, prediction: Prediction) -> tuple[Split, Prediction]:
    """Return the images that were predicted as a split of their own, a row each."""
    kept = prediction.indices.numpy()
    return split.subset(kept.tolist()), replace(prediction, indices=torch.arange(len(kept)))


def _announce(promise: Promise, choice: ThresholdChoice, trained: Trained) -> None:
    """Say what a promise rests on, and for which classes none can be made.

    Raises:
        UserError: there is none for any class.
    """
    multi_label = trained.calibration.multi_label
    refuse_empty(promise, choice, trained.classes, multi_label=multi_label)
    log().info(f"target    {describe_choice(promise, choice, trained.classes)}")
    if unmet := describe_unmet(choice, trained.classes, multi_label=multi_label):
        log().warning(f"--target {promise}: {unmet}")


def _heat_maps(trained: Trained) -> Overlay | None:
    """Return what draws heat maps for the report, or None for a network that gives none."""
    from applications.explain.heat_overlays import explain, open_explainer

    try:
        # Found on use; asked for here, so that a network without maps costs the heat maps alone.
        _ = open_explainer(trained).view
    except UserError as error:
        log().warning(f"the report comes without heat maps: {error}")
        return None
    return partial(explain, trained)


def _with_views(trained: Trained, task: LabelTask) -> Trained:
    """Return the model as it looks at images: once, or at the views of --tta."""
    views = trained.config.evaluation.tta
    if not views:
        return trained
    network = AveragedLabels(trained.model, parse_views(views, trained.config.data.image_size), task.criterion.activation)
    log().info(f"views     {len(network.views)} an image: {views}")
    return replace(trained, model=network.eval())


def _write(material: MeasuredLabels) -> None:
    trained, split, task, folder = material.trained, material.split, material.task, material.folder
    meter = LabelMeter.holding(task, material.prediction)
    metrics = meter.figures()
    files = task.render(meter, [split.file(index) for index in range(len(split))], folder)
    temperature = {"temperature": trained.calibration.temperature}
    facts = facts_of(trained, split, calibration=temperature, unreadable=material.unreadable, seen=material.seen)
    print_classes(task.table(meter))
    facts |= plain_floats(_say_accepted(material) | _say_promise(material))
    write_text(folder / "metrics.json", json.dumps({**facts, **metrics}, indent=2) + "\n")
    print_metrics(metrics, split, material.unreadable)
    if material.groups is not None:
        named = ((split.file(index), group) for index, group in enumerate(split.groups))
        write_csv(folder / GROUPS, [("image", "group"), *named])
        files.append(folder / GROUPS)
    files += [folder / "metrics.json", *([folder / UNREADABLE] if material.unreadable else [])]
    if trained.config.evaluation.report:
        # Its libraries take a second to load; an evaluation without a report does not wait for them.
        from applications.report.write import write_report

        log().info("page      being drawn; this takes up to a few minutes")
        with console().status("writing the report") if console().is_terminal else nullcontext():
            files += write_report(material)
    log().info(f"written   {folder} ({', '.join(file.name for file in files)})")


def _say_accepted(material: MeasuredLabels) -> dict[str, float]:
    """Say how many answers reach their threshold, and what that tells; return it as figures."""
    reject, prediction = material.trained.calibration.reject, material.prediction
    if reject is None:
        return {}
    kept = measure_rejection(reject, prediction.targets.numpy(), prediction.probabilities.numpy())[-1]
    said = f"accepted: {as_percent(kept.coverage)} of the answers reach their threshold, {as_percent(kept.error)} of those are wrong"
    log().info(f"{said}: on the images that chose the thresholds, which proves nothing" if material.is_chosen_here else said)
    return {"accepted": kept.coverage, "accepted_wrong": kept.error}


def _say_promise(material: MeasuredLabels) -> dict[str, Any]:
    """Say whether these images disprove what was promised; return it as figures.

    The images that chose the thresholds cannot: they are looked at with thresholds of the other four fifths.
    """
    promise, choice, prediction = material.promise, material.choice, material.prediction
    if promise is None or choice is None:
        return {}
    groups = [
        {"classes": [material.classes[number] for number in group.members], "count": group.count, "failures": group.failures}
        for group in choice.groups
    ]
    facts = {"target": str(promise), "target_confidence": CONFIDENCE, "target_groups": groups, "target_broken": material.broken}
    if choice.image_groups is not None:
        facts["target_image_groups"] = choice.image_groups
    if material.broken:
        log().warning(f"--target {describe_broken(str(promise), material.broken, len(choice.groups))}; its thresholds were chosen on val")
    if not material.is_chosen_here:
        return facts
    figures = cross_checked(material.task, prediction, promise, refit=material.is_fitted_here, groups=material.groups)
    if figures is None:
        log().info("checked: not at all: four fifths of these images are too few to choose thresholds that the last fifth could test")
        return facts
    said = ", ".join(f"{name} {as_percent(value)}" for name, value in figures.items())
    log().info(f"checked: {said}, with thresholds chosen on four fifths of these images and measured on the last, in turn")
    return facts | {"target_checked": figures}
