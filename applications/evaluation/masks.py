"""Evaluates a segmenter at the size of the original images: figures, intervals over images, tables, the report."""

import copy
import json
import time

import numpy as np
import torch
from torch import nn

from applications.assemble import Machine
from applications.contract import Task
from applications.evaluation.written import UNREADABLE, facts_of, print_classes, print_metrics, write_unreadable
from applications.report.segment import NAMES, MaskReport
from applications.tasks.mask_rows import MaskRows
from applications.tasks.segment import Segment
from applications.trained.checkpoint import Trained, open_held_out, warn_of_seen_images
from applications.trained.inference import measure_split
from dataloader.sample import Unreadable
from dataloader.splits.split import Split
from utils.errors import UserError
from utils.files import new_folder, removed_on_error, write_text
from utils.logs import log

# Flags whose code works with labels.
FOR_LABELS = ("target", "calibrate")


def evaluate_masks(trained: Trained, task: Task, machine: Machine) -> int:
    """Measure a model on held-out images; return 0, or 1 when images could not be read.

    Raises:
        UserError: a flag asks for what works with labels alone.
    """
    assert isinstance(task, Segment)
    settings = trained.config.to_dict()
    for flag in FOR_LABELS:
        if settings[flag]:
            raise UserError(f"--{flag} works with labels of images, which --task {task.name} of {trained.path} does not give")
    split = open_held_out(trained, ("test", "val"))
    log().info(f"model     {trained.describe()}")
    log().info(f"data      {split.display_path}: {len(split)} {split.name} images")
    log().info(f"precision {trained.precision(machine)}")
    seen = warn_of_seen_images(trained, split) if machine.world.is_first else None
    unreadable: list[Unreadable] = []
    start = time.perf_counter()
    meter = measure_split(trained, split, at_full_size(task, split, trained), machine, left_out=unreadable.extend)
    assert isinstance(meter, MaskRows)
    seconds = time.perf_counter() - start
    if machine.world.is_first:
        with removed_on_error(new_folder(trained.results_folder(), f"evaluation-{split.name}")) as folder:
            write_unreadable(unreadable, folder)
            _write(
                MaskReport(
                    trained=trained, split=split, task=task, machine=machine, folder=folder, seconds=seconds, unreadable=len(unreadable),
                    seen=seen, meter=meter, answer=lambda index: answer(trained, task, split, index, machine),
                )
            )  # fmt: skip
    return 1 if unreadable else 0


def at_full_size(task: Segment, split: Split, trained: Trained) -> Segment:
    """Return the task with a meter that compares answers with the masks of a split at their own size."""
    told = copy.copy(task)
    told.meter = lambda _: MaskRows(task.classes, task.criterion.activation, split.target, trained.preprocess)
    return told


def answer(trained: Trained, task: Segment, split: Split, index: int, machine: Machine) -> np.ndarray:
    """Return the mask that a model answers for an image, uint8 (H, W), at the size of the image."""
    image = split.read(index)
    return answer_image(trained.model, trained, task, image, machine)


def answer_image(model: nn.Module, trained: Trained, task: Segment, image: np.ndarray, machine: Machine) -> np.ndarray:
    """Return the mask of an image, uint8 (H, W, 3), at its size."""
    size = (image.shape[0], image.shape[1])
    pixels = trained.preprocess.apply(image)[None].to(machine.device)
    with torch.inference_mode(), machine.autocast():
        logits = model(task.normalize(pixels)).float()
    return task.postprocess(logits, [trained.preprocess.change(size).undone(size)])[0]


def _write(material: MaskReport) -> None:
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
