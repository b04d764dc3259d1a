"""Evaluates a detector on the original images: COCO's figures, intervals over images, what goes wrong, the report."""

import copy
import json
import time

from applications.assemble import Machine
from applications.contract import Task
from applications.evaluation.shared_output import UNREADABLE, facts_of, print_classes, print_metrics, write_unreadable
from applications.report.measured_boxes import MeasuredBoxes
from applications.tasks.box_meter import BoxRows
from applications.tasks.detect import Detect
from applications.trained.boxes import ImageDetector, set_choice
from applications.trained.checkpoint import Trained, open_held_out, warn_of_seen_images
from applications.trained.inference import measure_split
from applications.trained.views import with_views
from dataloader.images.read import ImageError
from dataloader.sample import Unreadable
from dataloader.splits.split import Split
from utils.errors import UserError
from utils.files import new_folder, removed_on_error, write_text
from utils.logs import log
from utils.progress import progress_bar
from utils.text import counted


def evaluate_boxes(trained: Trained, task: Task, machine: Machine) -> int:
    """Measure a model on held-out images; return 0, or 1 when images could not be read."""
    assert isinstance(task, Detect)
    options = trained.config.evaluation
    set_choice(task, trained)
    split = open_held_out(trained, ("test", "val"))
    log().info(f"model     {trained.describe()}")
    log().info(f"data      {split.display_path}: {len(split)} {split.name} images")
    log().info(f"precision {trained.precision(machine)}")
    seen = warn_of_seen_images(trained, split) if machine.world.is_first else None
    viewed = with_views(trained)
    unreadable: list[Unreadable] = []
    start = time.perf_counter()
    if options.tiles:
        height, width = trained.preprocess.image_size
        log().info(f"tiles     {width}x{height}, overlapping by a quarter, at the scale of the images")
        meter = _measure_tiles(ImageDetector(viewed, task, machine, True), split, unreadable)
    else:
        found = measure_split(viewed, split, _at_full_size(task, split, trained), machine, left_out=unreadable.extend)
        assert isinstance(found, BoxRows)
        meter = found
    seconds = time.perf_counter() - start
    if machine.world.is_first:
        with removed_on_error(new_folder(trained.results_folder(), f"evaluation-{split.name}")) as folder:
            write_unreadable(unreadable, folder)
            _write(
                MeasuredBoxes(
                    trained=trained, split=split, task=task, machine=machine, folder=folder, seconds=seconds, unreadable=len(unreadable),
                    seen=seen, views=options.tta or "", meter=meter,
                )
            )  # fmt: skip
    return 1 if unreadable else 0


def _at_full_size(task: Detect, split: Split, trained: Trained) -> Detect:
    """Return the task with a meter that compares answers with the boxes of a split on the original images."""
    told = copy.copy(task)

    def meter(images: int) -> BoxRows:
        del images
        return BoxRows(task.classes, task.measured, split.target, trained.preprocess)

    told.meter = meter
    return told


def _measure_tiles(detector: ImageDetector, split: Split, unreadable: list[Unreadable]) -> BoxRows:
    """Return the meter of a split that is looked at in tiles; that of the first process has counted the images of all.

    Raises:
        UserError: no image can be read.
    """
    trained, task, world = detector.trained, detector.task, detector.machine.world
    meter = BoxRows(task.classes, task.measured, split.target, trained.preprocess)
    lost: list[Unreadable] = []
    with progress_bar(f"{split.name} images", -(-len(split) // world.size), shown=world.is_first) as advance:
        for index in range(world.rank, len(split), world.size):
            try:
                image, boxes = split.read(index), split.target(index)
                meter.compare(index, detector.boxes(image, task.measured), boxes)
            except ImageError as error:
                if trained.config.data.strict:
                    raise
                lost.append(Unreadable(error.path, error.reason))
            advance(1)
    told = world.gather((len(meter.rows), lost))
    unreadable += [each for _, some in told for each in some]
    if unreadable and not any(count for count, _ in told):
        raise UserError(f"none of {counted(len(unreadable), 'image')} can be read, such as {unreadable[0].path}: {unreadable[0].reason}")
    for state in world.sent_to_first(meter.state):
        meter.merge(state)
    return meter


def _write(material: MeasuredBoxes) -> None:
    trained, task, folder, meter = material.trained, material.task, material.folder, material.meter
    metrics = {**meter.figures(), **material.at_confidence}
    files = task.render(meter, [material.split.file(index) for index in range(len(material.split))], folder)
    measured = material.split.subset(meter.positions)
    facts = facts_of(trained, measured, calibration=task.calibration(), unreadable=material.unreadable, seen=material.seen)
    intervals = {name: [each.low, each.high] for name, each in material.headline.items()}
    said = {"coco": dict(meter.coco.summary), "intervals": intervals, "errors": material.errors_at_confidence.counts()}
    print_classes(task.table(meter))
    write_text(folder / "metrics.json", json.dumps({**facts, **metrics, **said}, indent=2) + "\n")
    reached = ", ".join(f"{name} {value:.1%}" for name, value in material.at_confidence.items())
    log().info(f"answered  boxes with a score of {task.confidence:.3f} or more: {reached}")
    kinds = ", ".join(f"{count} {name}" for name, count in material.errors_at_confidence.counts().items() if count)
    log().info(f"wrong     {kinds or 'nothing'}")
    print_metrics({name: value for name, value in metrics.items() if name not in material.at_confidence}, measured, material.unreadable)
    files += [folder / "metrics.json", *([folder / UNREADABLE] if material.unreadable else [])]
    if trained.config.evaluation.report:
        from applications.report.write import write_report

        files += write_report(material)
    log().info(f"written   {folder} ({', '.join(file.name for file in files)})")
