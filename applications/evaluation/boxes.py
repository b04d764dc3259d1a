"""Evaluates a detector on the original images: COCO's figures, intervals over images, what goes wrong, the report."""

import json
import time
from typing import Any

from applications.assemble import Machine
from applications.calibration.box_promises import choose_least_score, describe_least_score
from applications.calibration.calibrate import store_chosen
from applications.calibration.promises import CONFIDENCE, Promise, parse_promise
from applications.contract import Task
from applications.evaluation.shared_output import UNREADABLE, facts_of, print_classes, print_metrics, write_unreadable
from applications.report.measured_boxes import MeasuredBoxes
from applications.tasks.box_meter import BoxRows
from applications.tasks.detect import Detect
from applications.trained.boxes import ImageDetector, set_choice
from applications.trained.checkpoint import Trained, open_held_out, open_validation, warn_of_seen_images
from applications.trained.inference import measure_split
from applications.trained.viewed_networks import with_views
from dataloader.images.read import ImageError
from dataloader.sample import Unreadable
from dataloader.splits.split import Split
from utils.errors import UserError
from utils.files import new_folder, removed_on_error, write_text
from utils.logs import log
from utils.metrics.box_reliability import NAME as D_ECE
from utils.metrics.grouped_statistics import number_groups
from utils.progress_bar import progress_bar
from utils.text import counted


def evaluate_boxes(trained: Trained, task: Task, machine: Machine) -> int:
    """Measure a model on held-out images; return 0, or 1 when images could not be read.

    Raises:
        UserError: the promise of --target cannot be kept.
    """
    assert isinstance(task, Detect)
    options = trained.config.evaluation
    promise = parse_promise(options.target, task.promises) if options.target else None
    chooses = promise is not None or options.calibrate
    if chooses and trained.config.boxes.conf is not None:
        raise UserError(f"--conf and --{'target' if promise else 'calibrate'} both choose the least score; give one of them")
    set_choice(task, trained)
    split = open_held_out(trained, ("test", "val"))
    log().info(f"model     {trained.describe()}")
    log().info(f"data      {split.display_path}: {len(split)} {split.name} images")
    log().info(f"precision {trained.precision(machine)}")
    seen = warn_of_seen_images(trained, split) if machine.world.is_first else None
    detector = ImageDetector(with_views(trained), task, machine, options.tiles)
    if options.tiles:
        height, width = trained.preprocess.image_size
        log().info(f"tiles     {width}x{height}, overlapping by a quarter, at the scale of the images")
    if chooses:
        _choose(detector, promise)
    unreadable: list[Unreadable] = []
    start = time.perf_counter()
    meter = _measure(detector, split, unreadable)
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


def _choose(detector: ImageDetector, promise: Promise | None) -> None:
    """Have the least score chosen on val images, by a promise or the best F1; with --calibrate fit the temperature, too, and store both."""
    trained, task, world = detector.trained, detector.task, detector.machine.world
    stores = trained.config.evaluation.calibrate
    purpose, unreadable = "--calibrate" if stores else "--target", []
    held = open_validation(trained, purpose)
    meter = _measure(detector, held, unreadable)
    if unreadable:
        log().warning(f"{purpose} chooses without {counted(len(unreadable), 'unreadable val image')}")
    chosen: dict[str, Any] = {}
    if world.is_first:
        if stores:
            task.fit_temperature(meter)
        task.calibrate(meter)
        if promise is not None:
            least = choose_least_score(promise, meter, number_groups(held.groups) if held.groups else None)
            task.confidence, task.promise = least.value, f"{promise} at {CONFIDENCE:.0%} confidence"
            log().info(f"target    {describe_least_score(promise, least, task.classes)}")
        if stores:
            store_chosen(trained, task.calibration(), f"temperature {task.temperature:.4f} and a least score of {task.confidence:.3f}")
        chosen = task.calibration()
    # Chosen once: the boxes are on the first process alone.
    task.load_calibration(world.gather(chosen)[0])


def _measure(detector: ImageDetector, split: Split, unreadable: list[Unreadable]) -> BoxRows:
    """Return the boxes of a split on the original images; images that cannot be read are added to the list."""
    trained, task = detector.trained, detector.task
    if detector.tiled:
        return _measure_tiles(detector, split, unreadable)
    # It compares answers with the boxes on the original images.
    found = BoxRows(task.classes, task.measured, split.target, trained.preprocess)
    measure_split(trained, split, task, detector.machine, left_out=unreadable.extend, meter=found)
    return found


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
    headline = {**material.headline, D_ECE: material.calibration_error}
    metrics[D_ECE] = headline[D_ECE].value
    intervals = {name: [each.low, each.high] for name, each in headline.items()}
    said = {"coco": dict(meter.coco.summary), "intervals": intervals, "errors": material.errors_at_confidence.counts()}
    print_classes(task.table(meter))
    write_text(folder / "metrics.json", json.dumps({**facts, **metrics, **said}, indent=2) + "\n")
    reached = ", ".join(f"{name} {value:.1%}" for name, value in material.at_confidence.items())
    promised = f" ({task.promise})" if task.promise else ""
    log().info(f"answered  boxes with a score of {task.confidence:.3f} or more{promised}: {reached}")
    log().info(f"scores    {D_ECE} {headline[D_ECE].text('.1%')}: how far they are from the share of boxes that find an object")
    kinds = ", ".join(f"{count} {name}" for name, count in material.errors_at_confidence.counts().items() if count)
    log().info(f"wrong     {kinds or 'nothing'}")
    print_metrics(
        {name: value for name, value in metrics.items() if name not in (*material.at_confidence, D_ECE)}, measured, material.unreadable
    )
    files += [folder / "metrics.json", *([folder / UNREADABLE] if material.unreadable else [])]
    if trained.config.evaluation.report:
        from applications.report.write import write_report

        files += write_report(material)
    log().info(f"written   {folder} ({', '.join(file.name for file in files)})")
