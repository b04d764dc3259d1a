"""Evaluates a detector of defects: figures with intervals, kinds, the promise of its threshold, the report, tables of OK and NG."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from applications.assemble import Machine
from applications.assemble.training_data import look_at_masks
from applications.contract import Task
from applications.engine.unreadable import UnreadableHeldOutImages
from applications.evaluation.shared_output import UNREADABLE, facts_of, print_classes, print_metrics, write_unreadable
from applications.report.measured_defects import MeasuredDefects
from applications.report.ok_ng import check_installed, write_ok_ng
from applications.tasks.anomaly import Anomaly
from applications.tasks.defect_meter import DefectMeter
from applications.trained.checkpoint import Trained, open_held_out, open_validation, warn_of_seen_images
from applications.trained.defects import ImageAnomalyDetector
from applications.trained.inference import measure_split
from dataloader.sample import Unreadable
from dataloader.splits.split import Split
from dataloader.targets.full_size import AtFullSize
from utils.files import new_folder, removed_on_error, write_text
from utils.logs import log
from utils.metrics.grouped_statistics import number_groups
from utils.text import counted


def evaluate_defects(trained: Trained, task: Task, machine: Machine) -> int:
    """Measure a detector of defects on held-out images; return 0, or 1 when images could not be read.

    Raises:
        UserError: the promise of --target cannot be kept.
    """
    assert isinstance(task, Anomaly)
    options = trained.config.evaluation
    if options.report_ok_ng:
        check_installed()
    split = open_held_out(trained, ("test", "val"))
    log().info(f"model     {trained.describe()}")
    log().info(f"data      {split.display_path}: {len(split)} {split.name} images")
    log().info(f"precision {trained.precision(machine)}")
    if machine.world.is_first:
        look_at_masks(split)
    if options.target:
        keep_promise(trained, task, machine, options.target)
    if task.threshold is not None:
        log().info(f"threshold {task.threshold.describe()}")
    seen = warn_of_seen_images(trained, split) if machine.world.is_first else None
    unreadable: list[Unreadable] = []
    start = time.perf_counter()
    meter = _measure_at_full_size(trained, split, task, machine, unreadable.extend)
    seconds = time.perf_counter() - start
    if machine.world.is_first:
        with removed_on_error(new_folder(trained.results_folder(), f"evaluation-{split.name}")) as folder:
            write_unreadable(unreadable, folder)
            _write(
                MeasuredDefects(
                    trained=trained, split=split, task=task, machine=machine, folder=folder, seconds=seconds, unreadable=len(unreadable),
                    seen=seen, meter=meter, heat=ImageAnomalyDetector(trained, task, machine),
                )
            )  # fmt: skip
    return 1 if unreadable else 0


def _measure_at_full_size(
    trained: Trained, split: Split, task: Anomaly, machine: Machine, left_out: Callable[[Sequence[Unreadable]], object]
) -> DefectMeter:
    """Return the counts of a split, of pixels at the size of the original images: thin defects fall apart in smaller masks."""
    assert split.truths is not None
    meter = DefectMeter(None if task.threshold is None else task.threshold.value, trained.preprocess)
    measure_split(trained, replace(split, truths=AtFullSize(split.truths)), task, machine, left_out=left_out, meter=meter)
    return meter


def keep_promise(trained: Trained, task: Anomaly, machine: Machine, target: str) -> None:
    """Have the task choose the threshold on good val images that keeps a promise."""
    held = open_validation(trained, "--target")
    left_out = UnreadableHeldOutImages()
    meter = measure_split(trained, held, task, machine, left_out=left_out)
    if left_out.count:
        log().warning(f"--target chooses without {counted(left_out.count, 'unreadable val image')}")
    assert isinstance(meter, DefectMeter)
    calibration = None
    if machine.world.is_first:
        groups = number_groups(held.groups) if held.groups else None
        task.promise(meter, target, None if groups is None else groups[meter.images.indices])
        calibration = task.calibration()
    task.load_calibration(machine.world.gather(calibration)[0])


def _write(material: MeasuredDefects) -> None:
    trained, task, folder, meter = material.trained, material.task, material.folder, material.meter
    metrics, images = meter.figures(), meter.images
    files = task.render(meter, [material.split.file(index) for index in range(len(material.split))], folder)
    measured = material.split.subset(images.indices.tolist())
    facts = facts_of(trained, measured, calibration=task.calibration(), unreadable=material.unreadable, seen=material.seen)
    intervals = {name: [each.low, each.high] for name, each in material.intervals.items()}
    print_classes(task.table(meter))
    write_text(folder / "metrics.json", json.dumps({**facts, **metrics, "intervals": intervals}, indent=2) + "\n")
    print_metrics(metrics, measured, material.unreadable)
    _say_promise(material)
    files += [folder / "metrics.json", *([folder / UNREADABLE] if material.unreadable else [])]
    if trained.config.evaluation.report:
        from applications.report.write import write_report

        files += write_report(material)
    if trained.config.evaluation.report_ok_ng:
        files += write_ok_ng(material)
    log().info(f"written   {folder} ({', '.join(file.name for file in files)})")


def _say_promise(material: MeasuredDefects) -> None:
    """Warn where good images that did not choose the threshold disprove its promise."""
    threshold, alarms = material.task.threshold, material.intervals.get("false_alarms")
    if threshold is None or threshold.limit is None or alarms is None or material.split.name == "val":
        return
    if alarms.low > threshold.limit:
        log().warning(
            f"false alarms {alarms.text('.1%')} are more than the {threshold.limit:.1%} that the threshold promises by val images: these "
            "good images look otherwise than those"
        )
