"""Evaluates a segmenter at the size of the original images: figures, intervals over images, tables, the report."""

import json
import time
from dataclasses import replace

from applications.assemble import Machine
from applications.assemble.training_data import look_at_masks
from applications.contract import Task
from applications.evaluation.shared_output import UNREADABLE, facts_of, print_classes, print_metrics, write_unreadable
from applications.report.measured_masks import NAMES, MeasuredMasks
from applications.tasks.segment import Segment
from applications.trained.checkpoint import Trained, open_held_out, warn_of_seen_images
from applications.trained.masks import ImageSegmenter, is_tiled
from applications.trained.measure_masks import measure_masks
from applications.trained.viewed_networks import AveragedMasks
from applications.trained.views import parse_views
from dataloader.sample import Unreadable
from utils.files import new_folder, removed_on_error, write_text
from utils.logs import log


def evaluate_masks(trained: Trained, task: Task, machine: Machine) -> int:
    """Measure a model on held-out images; return 0, or 1 when images could not be read."""
    assert isinstance(task, Segment)
    split = open_held_out(trained, ("test", "val"))
    log().info(f"model     {trained.describe()}")
    log().info(f"data      {split.display_path}: {len(split)} {split.name} images")
    log().info(f"precision {trained.precision(machine)}")
    if machine.world.is_first:
        look_at_masks(split)
    seen = warn_of_seen_images(trained, split) if machine.world.is_first else None
    viewed = _with_views(trained, task)
    segmenter = ImageSegmenter(viewed, task, machine, is_tiled(trained))
    unreadable: list[Unreadable] = []
    start = time.perf_counter()
    meter = measure_masks(segmenter, split, left_out=unreadable.extend)
    seconds = time.perf_counter() - start
    if machine.world.is_first:
        with removed_on_error(new_folder(trained.results_folder(), f"evaluation-{split.name}")) as folder:
            write_unreadable(unreadable, folder)
            _write(
                MeasuredMasks(
                    trained=trained, split=split, task=task, machine=machine, folder=folder, seconds=seconds, unreadable=len(unreadable),
                    seen=seen, views=trained.config.evaluation.tta or "", meter=meter,
                    answer=lambda index: segmenter.mask(split.read(index)),
                )
            )  # fmt: skip
    return 1 if unreadable else 0


def _with_views(trained: Trained, task: Segment) -> Trained:
    """Return the model as it looks at images: once, or at the views of --tta."""
    views = trained.config.evaluation.tta
    if not views:
        return trained
    network = AveragedMasks(trained.model, parse_views(views, trained.config.data.image_size), task.criterion.activation)
    log().info(f"views     {len(network.views)} an image: {views}")
    return replace(trained, model=network.eval())


def _write(material: MeasuredMasks) -> None:
    trained, task, folder, meter = material.trained, material.task, material.folder, material.meter
    metrics = meter.figures()
    files = task.render(meter, [material.split.file(index) for index in range(len(material.split))], folder)
    measured = material.split.subset(material.rows[0])
    facts = facts_of(trained, measured, calibration={}, unreadable=material.unreadable, seen=material.seen)
    intervals = {name: [each.low, each.high] for name, each in material.intervals.items() if name in NAMES}
    print_classes(task.table(meter))
    write_text(folder / "metrics.json", json.dumps({**facts, **metrics, "intervals": intervals}, indent=2) + "\n")
    print_metrics(metrics, measured, material.unreadable)
    files += [folder / "metrics.json", *([folder / UNREADABLE] if material.unreadable else [])]
    if trained.config.evaluation.report:
        from applications.report.write import write_report

        files += write_report(material)
    log().info(f"written   {folder} ({', '.join(file.name for file in files)})")
