"""Writes exported files, has each asked by its own runtime, and keeps those that give the model's answers: one way for every task."""

import platform
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from shlex import quote

import torch

from applications.contract import LearnsInPasses
from applications.export.answers import Answers
from applications.export.diverging import CLOSE, find_diverging
from applications.export.extra_outputs import refusal_of_extras
from applications.export.other_size import refusal_of_other_size
from applications.export.probe import MET, Job, RuntimeFailedError, ask
from applications.export.quantization_data import quantization_data
from applications.export.record import Record, write_record
from applications.export.source import Source, comparing_machine
from applications.export.staging import check_room, draft_folder, place, size_of
from applications.formats import FORMATS, build_format
from applications.formats.deployed import Deployed
from applications.formats.facts import Facts
from applications.formats.format import Format, WriteSettings
from applications.formats.int8 import TO_QUANTIZE
from applications.settings.options import ExportOptions
from applications.tasks import TASKS
from models.backbone import Backbone
from utils.logs import log
from utils.text import counted, say_bytes
from utils.timing import Timing

# Images that go in together, beside one by one.
BATCH = 8
STEM = "model"


def export(source: Source, found: Format, formats: Sequence[Format]) -> int:
    """Write one file of the `formats` of this call, and keep it when it gives the model's answers; return 0, or 1 when it does not."""
    destination = destination_of(source, found)
    check_room(destination, source.trained.model)
    with draft_folder(destination) as folder:
        record = write_draft(source, found, folder / destination.name)
        for note in slower_note(record, [each.name for each in formats]):
            log().warning(f"{found.name}: {note}")
            record = replace(record, notes=(*record.notes, note))
        write_record(record, destination)
        if record.refusal:
            log().error(f"{found.name}: the file answers otherwise than the model: {record.refusal}; {destination} was not written")
            rounded = source.trained.config.train.quantization_aware
            if not rounded and (way_out := way_out_of_loss(record, source.trained.path, source.trained.config.model.arch)):
                log().info(way_out)
            return 1
        place(folder, destination)
    log().info(f"written   {destination} ({record.bytes / 1e6:.1f} MB)")
    if found.in_demo and source.reference.demo:
        log().info(f"next: python demos/{source.reference.demo}.py {quote(str(destination))} IMAGE_OR_FOLDER")
    else:
        log().info(f"next: python main.py --predict IMAGE_OR_FOLDER --resume {quote(str(destination))}")
    return 0


def destination_of(source: Source, found: Format) -> Path:
    """Return where a file of this format comes to lie."""
    precision = "" if source.precision == "fp32" else f"-{source.precision}"
    return source.trained.path.parent / (STEM + precision + found.suffix)


def write_draft(source: Source, found: Format, draft: Path) -> Record:
    """Write a file of this format, compare it with the model, and return what became of it."""
    precision = "" if source.precision == "fp32" else f" {source.precision}"
    log().info(f"write     {found.name}{precision}, then ask it in a process of its own")
    facts, floating = facts_of(source, found), []
    notes = found.write(build_deployed(source, found), draft, facts, WriteSettings(source.options.opset))
    plain = None
    if source.options.int8:
        plain = time_file(source, found, draft)
        machine = comparing_machine()
        with machine.fp32_autocast():
            calibration = quantization_data(source.trained, source.reference, facts, source.options, machine)
        images = counted(len(calibration.images), "training image")
        log().info(f"int8      {found.name}: ranges and biases by {images}, then layers that cost accuracy")
        floating, said = found.quantize(draft, calibration)
        notes = [*notes, *said]
        log().info(f"int8      {found.name}: layers in floating point: {', '.join(floating) or 'none'}")
        if source.split.name == "val" and floating:
            notes = [*notes, "these layers were chosen on the images of this comparison; --split test measures on others"]
    record = replace(judge(source, found, draft, facts), floating=tuple(floating), plain=plain)
    if gain := record.gain():
        log().info(f"speed     {found.name}: {gain:.1f} times as fast as the same file in full precision")
    for note in notes:
        log().warning(f"{found.name}: {note}")
    return replace(record, notes=tuple(notes))


def time_file(source: Source, found: Format, draft: Path) -> Timing | None:
    """Return how long a written file takes for one image in a process of its own; None where its runtime fails."""
    try:
        images = source.split.subset(range(min(MET, len(source.split))))
        return ask(Job(found.name, draft.resolve(), images, BATCH, torch.get_num_threads())).timing
    except RuntimeFailedError:
        return None


def slower_note(record: Record, written: Sequence[str]) -> list[str]:
    """Return what to take instead of a file of 8 bits that is kept, though slower than that of full precision.

    Args:
        record: of the file.
        written: formats that the same call writes, which need not be proposed.
    """
    gain = record.gain()
    if record.refusal or gain is None or gain >= 1:
        return []
    others = [name for name in FORMATS if name not in written and build_format(name).holds.int8]
    instead = "".join(f", or try --export {name} --int8" for name in others)
    return [f"in 8 bits it takes {1 / gain:.1f} times as long as in full precision on this machine: leave --int8 out{instead}"]


def way_out_of_loss(record: Record, checkpoint: Path, arch: str) -> str:
    """Return how a model learns to keep its accuracy in 8 bits, where a file has lost too much of it; '' where it did not, or cannot."""
    parity, most = record.parity, record.allowed.drop
    lost = parity is not None and most is not None and parity.drop > most
    if not lost or issubclass(TASKS.resolve(record.facts.task), LearnsInPasses):
        return ""
    settings = checkpoint.parent / "config.json"
    same = f"--config {quote(str(settings))}" if settings.is_file() else f"--data DATA --arch {quote(arch)}"
    return f"next: python main.py {same} --init_from {quote(str(checkpoint))} --quantization_aware, then export that run"


def build_deployed(source: Source, found: Format) -> Deployed:
    """Return the model as the format is to write it."""
    return source.deployed(source.options, any_size=source.options.dynamic_size and found.holds.geometry)


def facts_of(source: Source, found: Format) -> Facts:
    """Return what the file of this format is to say of itself."""
    options, trained = source.options, source.trained
    model = trained.config.model
    return Facts(
        arch=model.arch if isinstance(trained.model, Backbone) else model.described(),
        task=trained.task,
        classes=trained.classes,
        preprocess=trained.preprocess,
        source=f"{trained.path.name}, epoch {trained.epoch}",
        checkpoint_sha256=source.sha256,
        exported_as=found.name,
        precision=source.precision,
        any_size=options.dynamic_size and found.holds.geometry,
        versions=versions_of(found, source.precision),
        **source.reference.facts(trained, source.task, options, found.holds),
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
    parity = source.reference.compare(source.expected, answers, facts, source.allowed)
    log().info(f"parity    {found.name}: {parity.describe()}")
    log().info(f"speed     {found.name}: {answers.timing} an image, by PyTorch {source.milliseconds:.1f} ms; {say_bytes(size)}")
    refusal = (
        differing_facts(answers, facts)
        or parity.refusal(source.allowed)
        or refusal_of_extras(answers.extras, source.expected_extras(), facts)
        or refusal_of_other_size(source.reference, source.expected_taller, answers, facts, source.allowed)
    )
    diverging = None
    # In 8 bits every layer differs.
    if refusal and source.precision in CLOSE:
        honest = source.deployed(ExportOptions(), any_size=True)
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
