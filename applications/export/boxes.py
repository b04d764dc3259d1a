"""Writes files of detectors, and keeps those that give the model's boxes: the same classes at the same places with the same scores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shlex import quote

import numpy as np
import torch

from applications import assemble
from applications.assemble import Machine
from applications.export.box_parity import ALLOWED_BOXES, compare_boxes
from applications.export.convert import BATCH, destination_of_file, differing_facts, read_unchanged, versions_of
from applications.export.parity import Allowed
from applications.export.probe import Job, RuntimeFailedError, ask
from applications.export.record import Record, write_record
from applications.export.reference import MOST_BYTES, MOST_IMAGES, thin_out
from applications.export.staging import check_room, draft_folder, place, size_of
from applications.formats.deployed import BoxCore, Deployed, deploy_scores
from applications.formats.facts import BoxFacts, Facts
from applications.formats.format import Format, WriteSettings
from applications.settings.options import ExportOptions, Request
from applications.tasks.detect import Detect
from applications.trained.boxes import ImageDetector, set_choice
from applications.trained.checkpoint import Trained, open_held_out
from applications.trained.trained_task import build_trained_task
from dataloader.images.preprocess import fit_images
from dataloader.splits.split import Split
from utils.errors import UserError
from utils.logs import log
from utils.runtime import Precision
from utils.text import say_bytes
from utils.timing import measure_times

# Images of a comparison, at least.
FEWEST_IMAGES = 8


@dataclass(frozen=True)
class BoxSource:
    """The detector that is exported, and what it says of the images of the comparison.

    Attributes:
        trained: the model.
        task: what its answers mean.
        split: the images.
        said: corners and scores at the size of the network, float32 (N, A, 4 + C).
        sha256: of the checkpoint's file.
        options: what the user chose.
        milliseconds: for one image, by PyTorch.
    """

    trained: Trained
    task: Detect
    split: Split
    said: np.ndarray
    sha256: str
    options: ExportOptions
    milliseconds: float

    @property
    def allowed(self) -> Allowed:
        return ALLOWED_BOXES if self.options.tolerance is None else replace(ALLOWED_BOXES, difference=self.options.tolerance)


def export_boxes(request: Request, formats: Sequence[Format]) -> int:
    """Export the detector of --resume; return 1 when a file answers otherwise than it.

    Raises:
        UserError: a flag or a format is for classifiers.
    """
    options = request.config.export
    for flag in ("half", "int8"):
        if getattr(options, flag):
            raise UserError(f"--{flag}: files of --task detect are written in fp32; leave it out")
    for flag in ("with_features", "with_cam"):
        if getattr(options, flag):
            raise UserError(f"--{flag} shows what a classifier reads, and --task detect has none; leave it out")
    for found in formats:
        if not (found.holds.outputs and found.holds.masks):
            raise UserError(f"--export {found.name}: the format holds classifiers, not models of --task detect; take another")
    source = _read_source(request)
    return max([_export(source, found) for found in formats])


def _read_source(request: Request) -> BoxSource:
    trained, sha256 = read_unchanged(request)
    device = torch.device("cpu")
    task = build_trained_task(trained, device)
    assert isinstance(task, Detect)
    set_choice(task, trained)
    machine = Machine(assemble.single_process(), device, Precision("fp32", False, "exported files are compared in fp32"))
    detector = ImageDetector(trained, task, machine, False)
    held = open_held_out(trained, ("val", "test"))
    split = thin_out(held, MOST_IMAGES)
    log().info(f"model     {trained.describe()}")
    with machine.fp32_autocast():
        first = _said(detector, split.read(0))
        split = thin_out(held, max(FEWEST_IMAGES, min(MOST_IMAGES, MOST_BYTES // first.nbytes)))
        log().info(f"compare   on {len(split)} {split.name} images of {split.display_path}")
        said = np.stack([_said(detector, split.read(index)) for index in range(len(split))])
        milliseconds = _time_model(trained, split)
    return BoxSource(trained, task, split, said, sha256, request.config.export, milliseconds)


def _said(detector: ImageDetector, image: np.ndarray) -> np.ndarray:
    """Return corners and scores of every place, float32 (A, 4 + C)."""
    said = detector.look(detector.trained.preprocess.apply(image)[None])[0]
    return torch.cat([said[:, :4], said[:, 5:] * said[:, 4:5]], 1).numpy()


def _time_model(trained: Trained, split: Split) -> float:
    """Return the median time that PyTorch takes for one image, in ms, from its pixels to boxes and scores."""
    numbers = trained.preprocess
    answering = deploy_scores(BoxCore(trained.model), numbers).answering
    image = torch.from_numpy(split.read(0)).permute(2, 0, 1)[None].contiguous()
    with torch.inference_mode():
        (timing,) = measure_times([lambda: answering(fit_images(image, *numbers.image_size, numbers.resize))], seconds=0.5)
    return 1e3 * timing.median


def _export(source: BoxSource, found: Format) -> int:
    destination = destination_of_file(source.trained.path, found)
    check_room(destination, source.trained.model)
    inside = source.options.nms_inside and found.holds.suppression
    log().info(f"write     {found.name}, {'with' if inside else 'without'} the choice among boxes, then ask it in a process of its own")
    with draft_folder(destination) as folder:
        draft, facts = folder / destination.name, _facts_of(source, found, inside=inside)
        notes = found.write(_deployed(source, found), draft, facts, WriteSettings(source.options.opset))
        for note in notes:
            log().warning(f"{found.name}: {note}")
        record = replace(_judge(source, found, draft, facts), notes=tuple(notes))
        write_record(record, destination)
        if record.refusal:
            log().error(f"{found.name}: the file answers otherwise than the model: {record.refusal}; {destination} was not written")
            return 1
        place(folder, destination)
    log().info(f"written   {destination} ({record.bytes / 1e6:.1f} MB)")
    if found.in_demo:
        log().info(f"next: python demos/detector.py {quote(str(destination))} IMAGE_OR_FOLDER")
    return 0


def _deployed(source: BoxSource, found: Format) -> Deployed:
    any_size = source.options.dynamic_size and found.holds.geometry
    return deploy_scores(BoxCore(source.trained.model).eval(), source.trained.preprocess, any_size=any_size)


def _facts_of(source: BoxSource, found: Format, *, inside: bool) -> Facts:
    trained, choice = source.trained, source.task.answered
    return Facts(
        arch=trained.config.model.described(),
        task=trained.task,
        classes=trained.classes,
        preprocess=trained.preprocess,
        activation="none",
        source=f"{trained.path.name}, epoch {trained.epoch}",
        checkpoint_sha256=source.sha256,
        exported_as=found.name,
        any_size=source.options.dynamic_size and found.holds.geometry,
        outputs=(*(each.name for each in source.task.signature().outputs), *(["classes"] if inside else [])),
        versions=versions_of(found, "fp32"),
        boxes=BoxFacts(choice.confidence, choice.overlap, choice.most, choice.agnostic),
    )


def _judge(source: BoxSource, found: Format, draft: Path, facts: Facts) -> Record:
    """Ask the written file in a fresh process, and compare its boxes with the model's."""
    job = Job(found.name, draft.resolve(), source.split, BATCH, torch.get_num_threads())
    size, data = size_of(draft.parent), str(source.split.display_path)
    more = {"allowed": source.allowed, "bytes": size, "threads": job.threads, "model_ms": source.milliseconds}
    record = partial(Record, facts=facts, split=source.split.name, data=data, **more)
    try:
        answers = ask(job)
    except RuntimeFailedError as error:
        return record(refusal=f"its runtime failed ({error})")
    told = differing_facts(answers, facts)
    if told:
        return record(refusal=told)
    parity = compare_boxes(answers, source.said, source.task, source.split, source.trained.preprocess, source.allowed)
    log().info(
        f"parity    {found.name}: {parity.agreeing:,} of {parity.total:,} boxes agree, largest difference of scores {parity.largest:.1e}, "
        f"in batches {parity.batched:.1e}; AP {100 * parity.file:.2f}%, of the model {100 * parity.model:.2f}%"
    )
    log().info(f"speed     {found.name}: {answers.timing} an image, by PyTorch {source.milliseconds:.1f} ms; {say_bytes(size)}")
    refusal = parity.refusal(source.allowed)
    if not parity.total:
        least = source.task.answered.confidence if facts.chooses_boxes else source.task.measured.confidence
        refusal = f"no image has a box with a score of {least:.3f} or more, so nothing can be compared; lower --conf, or train longer"
    return record(refusal=refusal, parity=parity, timing=answers.timing, open_seconds=answers.open_seconds)
