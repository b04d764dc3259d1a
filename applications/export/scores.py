"""Writes files that answer scores and maps of defects, and keeps those that give the model's answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from applications import assemble
from applications.assemble import Machine
from applications.export.convert import (
    BATCH,
    destination_of_file,
    read_unchanged,
    versions_of,
)
from applications.export.parity import ALLOWED, Allowed, Parity
from applications.export.probe import Job, RuntimeFailedError, ask
from applications.export.record import Record, write_record
from applications.export.reference import MOST_IMAGES, thin_out
from applications.export.staging import check_room, draft_folder, place, size_of
from applications.formats.deployed import Deployed, deploy_scores
from applications.formats.facts import Facts
from applications.formats.format import Format, WriteSettings
from applications.settings.options import ExportOptions, Request
from applications.tasks.anomaly import Anomaly
from applications.tasks.defect_meter import DefectMeter
from applications.trained.checkpoint import Trained, open_held_out
from applications.trained.inference import measure_split
from applications.trained.trained_task import build_trained_task
from dataloader.images.preprocess import fit_images, fit_pixels
from dataloader.splits.split import Split
from utils.errors import UserError
from utils.logs import log
from utils.runtime import Precision
from utils.text import say_bytes
from utils.timing import measure_times

# Images whose maps are compared, place by place.
MAPS = 4


@dataclass(frozen=True)
class ScoreSource:
    """The detector that is exported, and what it says of the images of the comparison.

    Attributes:
        trained: the model.
        task: what its answers mean.
        split: the images.
        scores: its answers, float64 (N,).
        sha256: of the checkpoint's file.
        options: what the user chose.
        milliseconds: for one image, by PyTorch.
    """

    trained: Trained
    task: Anomaly
    split: Split
    scores: np.ndarray
    sha256: str
    options: ExportOptions
    milliseconds: float

    @property
    def allowed(self) -> Allowed:
        usual = ALLOWED["fp32"]
        return usual if self.options.tolerance is None else replace(usual, difference=self.options.tolerance)

    @property
    def threshold(self) -> float | None:
        return None if self.task.threshold is None else self.task.threshold.value


def export_scores(request: Request, formats: Sequence[Format]) -> int:
    """Export the detector of --resume; return 1 when a file answers otherwise than it.

    Raises:
        UserError: a flag or a format is for classifiers.
    """
    options = request.config.export
    for flag in ("half", "int8", "with_features", "with_cam"):
        if getattr(options, flag):
            raise UserError(f"--{flag} is for files of classifiers; a detector of defects is written whole, in fp32; leave it out")
    for found in formats:
        if not found.holds.outputs:
            raise UserError(
                f"--export {found.name}: the format answers probabilities alone, and a detector of defects scores and maps; take another"
            )
    trained, sha256 = read_unchanged(request)
    task = build_trained_task(trained, torch.device("cpu"))
    assert isinstance(task, Anomaly)
    machine = Machine(assemble.single_process(), torch.device("cpu"), Precision("fp32", False, "exported files are compared in fp32"))
    split = thin_out(open_held_out(trained, ("test", "val")), MOST_IMAGES)
    log().info(f"model     {trained.describe()}")
    log().info(f"compare   on {len(split)} {split.name} images of {split.display_path}")
    with machine.fp32_autocast():
        meter = measure_split(trained, split, task, machine)
        assert isinstance(meter, DefectMeter)
        milliseconds = _time_model(trained, split)
    source = ScoreSource(trained, task, split, meter.images.scores, sha256, options, milliseconds)
    return max([_export(source, found) for found in formats])


def _time_model(trained: Trained, split: Split) -> float:
    """Return the median time that PyTorch takes for one image, in ms, from its pixels to the answer."""
    numbers = trained.preprocess
    answering = deploy_scores(trained.model, numbers).answering
    image = torch.from_numpy(split.read(0)).permute(2, 0, 1)[None].contiguous()
    with torch.inference_mode():
        (timing,) = measure_times([lambda: answering(fit_images(image, *numbers.image_size, numbers.resize))], seconds=0.5)
    return 1e3 * timing.median


def _export(source: ScoreSource, found: Format) -> int:
    destination = destination_of_file(source.trained.path, found)
    check_room(destination, source.trained.model)
    log().info(f"write     {found.name}, then ask it in a process of its own")
    with draft_folder(destination) as folder:
        draft, facts = folder / destination.name, _facts_of(source, found)
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
    return 0


def _deployed(source: ScoreSource, found: Format) -> Deployed:
    any_size = source.options.dynamic_size and found.holds.geometry
    return deploy_scores(source.trained.model, source.trained.preprocess, any_size=any_size)


def _facts_of(source: ScoreSource, found: Format) -> Facts:
    trained = source.trained
    return Facts(
        arch=trained.config.model.described(),
        task=trained.task,
        classes=trained.classes,
        preprocess=trained.preprocess,
        activation="none",
        thresholds=None if source.threshold is None else (source.threshold,),
        source=f"{trained.path.name}, epoch {trained.epoch}",
        checkpoint_sha256=source.sha256,
        exported_as=found.name,
        any_size=source.options.dynamic_size and found.holds.geometry,
        outputs=tuple(each.name for each in source.task.signature().outputs),
        versions=versions_of(found, "fp32"),
    )


def _judge(source: ScoreSource, found: Format, draft: Path, facts: Facts) -> Record:
    """Ask the written file in a fresh process, and compare its scores, and some of its maps, with the model's."""
    job = Job(found.name, draft.resolve(), source.split, BATCH, torch.get_num_threads())
    size, data = size_of(draft.parent), str(source.split.display_path)
    more = {"allowed": source.allowed, "bytes": size, "threads": job.threads, "model_ms": source.milliseconds}
    record = partial(Record, facts=facts, split=source.split.name, data=data, **more)
    try:
        answers = ask(job)
    except RuntimeFailedError as error:
        return record(refusal=f"its runtime failed ({error})")
    differences = np.abs(answers.single - source.scores)
    batched = max(float(np.abs(answers.batched - source.scores).max()), _map_difference(source, found, draft))
    named = [scores >= (2.0 if source.threshold is None else source.threshold) for scores in (source.scores, answers.single)]
    # A score that lies on the threshold up to what is allowed agrees either way.
    near = np.zeros_like(named[0]) if source.threshold is None else np.abs(source.scores - source.threshold) <= source.allowed.difference
    parity = Parity(
        images=len(differences),
        agreeing=int(((named[0] == named[1]) | near).sum()),
        largest=float(differences.max()),
        mean=float(differences.mean()),
        batched=batched,
        headline="named defective",
        model=float(named[0].mean()),
        file=float(named[1].mean()),
        worst=int(differences.argmax()),
    )
    log().info(
        f"parity    {found.name}: {parity.agreeing} of {parity.images} images are named alike, largest difference of scores "
        f"{parity.largest:.1e}, in batches and maps {parity.batched:.1e}"
    )
    log().info(f"speed     {found.name}: {answers.timing} an image, by PyTorch {source.milliseconds:.1f} ms; {say_bytes(size)}")
    told = replace(answers.facts, any_size=facts.any_size, versions=facts.versions)
    refusal = "it says otherwise of itself" if told != facts else parity.refusal(source.allowed)
    return record(refusal=refusal, parity=parity, timing=answers.timing, open_seconds=answers.open_seconds)


def _map_difference(source: ScoreSource, found: Format, draft: Path) -> float:
    """Return the largest difference of any place of a few maps."""
    opened, numbers, worst = found.open(draft), source.trained.preprocess, 0.0
    for index in range(0, len(source.split), -(-len(source.split) // MAPS)):
        fitted = fit_pixels(source.split.read(index), *numbers.image_size, numbers.resize).transpose(2, 0, 1)[None]
        with torch.inference_mode():
            _, expected = source.trained.model(source.task.normalize(torch.from_numpy(np.ascontiguousarray(fitted))))
        _, answered = opened.run(np.ascontiguousarray(fitted))
        worst = max(worst, float(np.abs(answered - expected.numpy()).max()))
    return worst
