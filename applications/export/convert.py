"""Writes exported files, has each asked by its own runtime, and keeps those that give the model's answers."""

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from shlex import quote

import torch

from applications import assemble
from applications.assemble import Machine
from applications.export.diverging import CLOSE, find_diverging
from applications.export.int8_images import calibration_of
from applications.export.parity import Allowed
from applications.export.probe import Answers, Job, RuntimeFailedError, ask
from applications.export.record import Record, write_record
from applications.export.reference import LabelReference, Reference, read_reference
from applications.export.staging import check_room, draft_folder, place, size_of
from applications.formats import FORMATS, build_format
from applications.formats.deployed import Deployed, deploy
from applications.formats.facts import Facts
from applications.formats.format import Format, WriteSettings
from applications.formats.int8 import TO_QUANTIZE
from applications.formats.package import check_installed
from applications.settings.options import ExportOptions, Request
from applications.tasks.label_task import LabelTask
from applications.tasks.segment import Segment
from applications.trained.checkpoint import Trained, load_trained, open_held_out
from applications.trained.trained_task import build_trained_task
from dataloader.images.preprocess import fit_images
from dataloader.splits.split import Split
from models.backbone import Backbone
from utils.checkpoint import BEST, find_checkpoint
from utils.errors import UserError
from utils.files import sha256_of
from utils.logs import log
from utils.runtime import Precision
from utils.text import say_bytes
from utils.timing import measure_times

# Images that go in together, beside one by one.
BATCH = 8
STEM = "model"


@dataclass(frozen=True)
class Source:
    """The model that is exported, and what it says of the images of the comparison.

    Attributes:
        trained: the model.
        reference: its answers.
        options: what the user chose.
        sha256: of the checkpoint's file.
        milliseconds: for one image, by PyTorch.
    """

    trained: Trained
    reference: Reference
    options: ExportOptions
    sha256: str
    milliseconds: float

    @property
    def task(self) -> LabelTask | Segment:
        return self.reference.task

    @property
    def split(self) -> Split:
        return self.reference.split

    @property
    def precision(self) -> str:
        return "int8" if self.options.int8 else "half" if self.options.half else "fp32"

    @property
    def allowed(self) -> Allowed:
        usual = self.reference.allowed[self.precision]
        if usual.drop is not None:
            usual = replace(usual, drop=self.options.max_drop)
        return usual if self.options.tolerance is None else replace(usual, difference=self.options.tolerance)


def export_named(request: Request, formats: Sequence[Format]) -> int:
    """Export the model of --resume; return 1 when a file answers otherwise than the model."""
    source = read_source(request)
    check_held(source, formats)
    return max([export(source, found) for found in formats])


def named_formats(request: Request) -> list[Format]:
    """Return the formats that the user named.

    Raises:
        UserError: one is unknown, named twice, cannot hold what was asked for, or lacks a package.
    """
    names = ["torchscript"] if request.action == "jit" else [name.strip() for name in request.subject.split(",")]
    for name in names:
        FORMATS.check(name)
    if len(set(names)) < len(names):
        raise UserError(f"--export {request.subject} names a format twice")
    formats = [build_format(name) for name in names]
    for found in formats:
        check_format(found, request.config.export)
    return formats


def check_format(found: Format, options: ExportOptions) -> None:
    """Raise UserError when the format cannot hold what was asked for, or a package is missing."""
    if options.int8 and not found.holds.int8:
        able = [name for name in FORMATS if build_format(name).holds.int8]
        raise UserError(f"--int8: the format {found.name} has no room for 8-bit integers; take {' or '.join(able)}")
    if options.half and not found.holds.half:
        raise UserError(f"--half: the format {found.name} has no room for 16 bits; leave it out")
    if (options.with_features or options.with_cam) and not found.holds.outputs:
        raise UserError(f"--with_features and --with_cam: the format {found.name} answers probabilities alone; leave them out")
    if options.opset is not None and not found.holds.opset:
        able = [name for name in FORMATS if build_format(name).holds.opset]
        raise UserError(f"--opset {options.opset} is for the formats {' and '.join(able)}; leave it out for {found.name}")
    check_installed(found.name, (*found.to_write, *found.to_open, *((TO_QUANTIZE,) if options.int8 else ())))


def check_held(source: Source, formats: Sequence[Format]) -> None:
    """Raise UserError where the answers of the task cannot be held, or not as the user wants them."""
    options, name = source.options, source.task.name
    if source.precision not in source.reference.allowed:
        raise UserError(
            f"--{source.precision}: files of --task {name} are written in {' or '.join(source.reference.allowed)}; leave it out"
        )
    if isinstance(source.trained.model, Backbone):
        return
    if options.with_features or options.with_cam:
        raise UserError(f"--with_features and --with_cam show what a classifier reads, and --task {name} has none; leave them out")
    if unable := [found.name for found in formats if not found.holds.masks]:
        raise UserError(f"the format {unable[0]} holds classifiers, not models of --task {name}; take another")


def read_source(request: Request) -> Source:
    """Read the model of --resume and let it answer.

    Raises:
        UserError: there is no such model, it has no images to compare on, or its file changes meanwhile.
    """
    device = torch.device("cpu")
    machine = Machine(assemble.single_process(), device, Precision("fp32", False, "exported files are compared in fp32"))
    trained, before = read_unchanged(request)
    split = open_held_out(trained, ("val", "test"))
    log().info(f"model     {trained.describe()}")
    task = build_trained_task(trained, device)
    with machine.fp32_autocast():
        reference = read_reference(trained, task, split, machine, f"--{request.action}")
        split = reference.split
        log().info(f"compare   on {len(split)} {split.name} images of {split.display_path}")
        milliseconds = time_model(trained, reference.task, split)
    return Source(trained, reference, request.config.export, before, milliseconds)


def read_unchanged(request: Request) -> tuple[Trained, str]:
    """Return the model of --resume, on the CPU, and the SHA-256 of its file.

    Raises:
        UserError: there is no such model, or its file changes meanwhile.
    """
    path = find_checkpoint(request.resume, BEST)
    before = sha256_of(path)
    trained = load_trained(path, request.given, request.action, torch.device("cpu"))
    if sha256_of(path) != before:
        raise UserError(f"{path} changes while it is read; wait until the training is done, or export a copy")
    return trained, before


def time_model(trained: Trained, task: LabelTask | Segment, split: Split) -> float:
    """Return the median time that PyTorch takes for one image, in ms, from its pixels to the answer."""
    numbers = trained.preprocess
    answering = deploy(trained.model, numbers, task.criterion.activation, arch="", temperature=trained.calibration.temperature).answering
    image = torch.from_numpy(split.read(0)).permute(2, 0, 1)[None].contiguous()
    with torch.inference_mode():
        (timing,) = measure_times([lambda: answering(fit_images(image, *numbers.image_size, numbers.resize))], seconds=0.5)
    return 1e3 * timing.median


def export(source: Source, found: Format) -> int:
    """Write one file, and keep it when it gives the model's answers; return 0, or 1 when it does not."""
    destination = destination_of(source, found)
    check_room(destination, source.trained.model)
    log().info(f"write     {found.name}, then ask it in a process of its own")
    with draft_folder(destination) as folder:
        record = write_draft(source, found, folder / destination.name)
        write_record(record, destination)
        if record.refusal:
            log().error(f"{found.name}: the file answers otherwise than the model: {record.refusal}; {destination} was not written")
            return 1
        place(folder, destination)
    log().info(f"written   {destination} ({record.bytes / 1e6:.1f} MB)")
    if found.in_demo:
        demo = "segmenter" if isinstance(source.task, Segment) else "classifier"
        log().info(f"next: python demos/{demo}.py {quote(str(destination))} IMAGE_OR_FOLDER")
    return 0


def destination_of(source: Source, found: Format) -> Path:
    """Return where a file of this format comes to lie."""
    return destination_of_file(source.trained.path, found, source.precision)


def destination_of_file(checkpoint: Path, found: Format, precision: str = "fp32") -> Path:
    """Return where the file of a checkpoint comes to lie."""
    return checkpoint.parent / (STEM + ("" if precision == "fp32" else f"-{precision}") + found.suffix)


def write_draft(source: Source, found: Format, draft: Path) -> Record:
    """Write a file of this format, compare it with the model, and return what became of it."""
    facts, floating = facts_of(source, found), []
    notes = found.write(build_deployed(source, found), draft, facts, WriteSettings(source.options.opset))
    if source.options.int8:
        reference = source.reference
        assert isinstance(reference, LabelReference), "check_held has refused the others"
        floating = found.quantize(draft, calibration_of(source.trained, reference.task, source.split, reference.expected, source.options))
        log().info(f"int8      {found.name}: layers in floating point: {', '.join(floating) or 'none'}")
        if source.split.name == "val" and floating:
            notes = [*notes, "these layers were chosen on the images of this comparison; --split test measures on others"]
    for note in notes:
        log().warning(f"{found.name}: {note}")
    return replace(judge(source, found, draft, facts), notes=tuple(notes), floating=tuple(floating))


def build_deployed(source: Source, found: Format) -> Deployed:
    """Return the model as the format is to write it."""
    options, trained = source.options, source.trained
    return deploy(
        trained.model,
        trained.preprocess,
        source.task.criterion.activation,
        arch=trained.config.model.arch,
        temperature=trained.calibration.temperature,
        any_size=options.dynamic_size and found.holds.geometry,
        half=options.half,
        features=options.with_features,
        cam=options.with_cam,
    )


def facts_of(source: Source, found: Format) -> Facts:
    """Return what the file of this format is to say of itself."""
    options, trained = source.options, source.trained
    extras = (("features", options.with_features), ("cam", options.with_cam))
    return Facts(
        arch=trained.config.model.arch,
        task=trained.task,
        classes=trained.classes,
        preprocess=trained.preprocess,
        activation=source.task.criterion.activation,
        **asdict(trained.calibration),
        source=f"{trained.path.name}, epoch {trained.epoch}",
        checkpoint_sha256=source.sha256,
        exported_as=found.name,
        precision=source.precision,
        any_size=options.dynamic_size and found.holds.geometry,
        outputs=(*(each.name for each in source.task.signature().outputs), *(name for name, asked in extras if asked)),
        versions=versions_of(found, source.precision),
    )


def versions_of(found: Format, precision: str) -> dict[str, str]:
    """Return the versions of Python and of the packages that write this format."""
    quantizing = (TO_QUANTIZE.name,) if precision == "int8" else ()
    packages = ("torch", *(package.name for package in found.to_write), *quantizing)
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def judge(source: Source, found: Format, draft: Path, facts: Facts) -> Record:
    """Ask the written file in a fresh process and compare it with the model."""
    job = Job(found.name, draft.resolve(), source.split, BATCH, torch.get_num_threads())
    size = size_of(draft.parent)
    record = partial(
        Record,
        facts=facts,
        split=source.split.name,
        data=str(source.split.display_path),
        allowed=source.allowed,
        bytes=size,
        threads=job.threads,
        model_ms=source.milliseconds,
    )
    try:
        answers = ask(job)
    except RuntimeFailedError as error:
        return record(refusal=f"its runtime failed ({error})")
    parity = source.reference.compare(answers, facts)
    figures = f"{parity.headline} {100 * parity.file:.2f}%, of the model {100 * parity.model:.2f}%"
    log().info(
        f"parity    {found.name}: {parity.agreeing:,} of {parity.total:,} {parity.answered} agree, largest probability difference "
        f"{parity.largest:.1e}, in batches {parity.batched:.1e}; {figures}"
    )
    log().info(f"speed     {found.name}: {answers.timing} an image, by PyTorch {source.milliseconds:.1f} ms; {say_bytes(size)}")
    refusal = differing_facts(answers, facts) or parity.refusal(source.allowed)
    diverging = None
    # In 8 bits every layer differs.
    if refusal and source.precision in CLOSE:
        honest = deploy(source.trained.model, source.trained.preprocess, facts.activation, arch=facts.arch, temperature=facts.temperature)
        diverging = find_diverging(honest, replace(job, split=source.split.subset([parity.worst]), inner=True), source.precision)
        if diverging:
            refusal += f"; the first layer that differs is {diverging}"
    return record(refusal=refusal, parity=parity, timing=answers.timing, open_seconds=answers.open_seconds, diverging=diverging)


def differing_facts(answers: Answers, facts: Facts) -> str:
    """Return which facts of the file are not those of the model, or ''."""
    # A format may leave the geometry to the caller, and says so.
    told = replace(answers.facts, any_size=facts.any_size)
    names = [name for name in vars(facts) if name != "versions" and getattr(told, name) != getattr(facts, name)]
    return f"it says otherwise of {', '.join(names)}" if names else ""
