"""A checkpoint or an exported file measured in a process of its own: time, memory, size, and its answers."""

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from applications import assemble
from applications.export import reference_kind
from applications.export.parity import ClassFigure, Figures
from applications.export.probe import ROOT, RuntimeFailedError, as_taken, first_answer, time_alone
from applications.export.staging import size_of
from applications.formats.facts import Facts
from applications.formats.format import Holds, Opened
from applications.formats.package import check_installed
from applications.formats.torchscript import as_arrays
from applications.settings.options import ExportOptions, LossOptions
from applications.tasks import TASKS
from applications.trained.checkpoint import load_trained
from applications.trained.exported import find_format
from dataloader.images.preprocess import fit_images, fit_pixels
from dataloader.splits.split import Split
from utils.busy_machine import sleep_when_busy
from utils.errors import UserError
from utils.timing import Timing, measure_times

START = "import sys; sys.path[0] = sys.argv[1]; from applications.export.measure import main; sys.exit(main(sys.argv[2], sys.argv[3]))"
# Images of one call when throughput is measured.
BATCH = 8
SECONDS = 1.0


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        path: of the checkpoint or the exported file.
        exported: whether it is the latter.
        given: the flags of the call, by which a checkpoint is read.
        split: the images.
        task: what is known of them.
        classes: by which they are numbered.
        threads: of the runtime.
    """

    path: Path
    exported: bool
    given: Mapping[str, Any]
    split: Split
    task: str
    classes: tuple[str, ...]
    threads: int


@dataclass(frozen=True)
class MeasuredFile:
    """What a process of its own found.

    Attributes:
        facts: what the model says of itself.
        figures: of its answers to the images of the split, one at a time.
        load_seconds: until it had answered one image, without importing PyTorch.
        one: time of one image, from its pixels to the answer.
        many: the same for BATCH images of the network's own size.
        memory: bytes that opening and answering one image at a time added; None where the system does not say.
        size: bytes of all its files.
    """

    facts: Facts
    figures: Figures
    load_seconds: float
    one: Timing
    many: Timing
    memory: int | None
    size: int

    @property
    def throughput(self) -> float:
        """Images a second, several at a time."""
        return BATCH / self.many.median


def measure(subject: Subject) -> MeasuredFile:
    """Measure in a fresh process.

    Raises:
        RuntimeFailedError: it could not be opened, or not answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "subject.pickle", Path(folder) / "measured.json"
        asked.write_bytes(pickle.dumps(subject))
        command = [sys.executable, "-c", START, str(ROOT), str(asked), str(answered)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0 or not answered.is_file():
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise RuntimeFailedError(lines[-1] if lines and done.returncode > 0 else f"it ended with code {done.returncode}")
        told = json.loads(answered.read_text())
    facts, one, many = Facts.from_json(told.pop("facts")), Timing(**told.pop("one")), Timing(**told.pop("many"))
    name, value, rows = told.pop("figures")
    figures = Figures(name, value, tuple(ClassFigure(*row) for row in rows))
    return MeasuredFile(facts, figures, one=one, many=many, **told)


def main(asked: str, answered: str) -> int:
    """Measure the subject that is pickled in a file; write what was found to another."""
    # Written by `measure` a moment ago, in a folder that only this user may read.
    subject: Subject = pickle.loads(Path(asked).read_bytes())
    torch.set_num_threads(subject.threads)
    sleep_when_busy()
    try:
        found = _measure(subject)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    told = {
        "facts": found.facts.to_json(),
        "figures": found.figures,
        "load_seconds": found.load_seconds,
        "one": vars(found.one),
        "many": vars(found.many),
        "memory": found.memory,
        "size": found.size,
    }
    Path(answered).write_text(json.dumps(told))
    return 0


def _measure(subject: Subject) -> MeasuredFile:
    first = subject.split.read(0)
    before, start = _resident(), time.perf_counter()
    opened, size = _open_exported(subject) if subject.exported else _open_checkpoint(subject)
    load_seconds = time.perf_counter() - start
    _check_same_answers(opened.facts, subject)
    load_seconds += first_answer(opened, subject.split)
    one = time_alone(opened, subject.split, SECONDS)
    after = _resident()
    numbers = opened.facts.preprocess
    fitted = fit_pixels(first, *numbers.image_size, numbers.resize).transpose(2, 0, 1)
    several = np.ascontiguousarray(np.stack([fitted] * BATCH))
    (many,) = measure_times([lambda: opened.run(several)], seconds=SECONDS)
    memory = None if before is None or after is None else max(0, after - before)
    return MeasuredFile(opened.facts, _figures(opened, subject), load_seconds, one, many, memory, size)


def _check_same_answers(facts: Facts, subject: Subject) -> None:
    """Raise UserError where a model answers something else than what is known of the images."""
    if facts.task != subject.task:
        raise UserError(f"it is a model of --task {facts.task}, and the images are measured by --task {subject.task}")
    if sorted(facts.classes) != sorted(subject.classes):
        raise UserError(f"it knows {len(facts.classes)} classes, which are not the {len(subject.classes)} of the images")


def _figures(opened: Opened, subject: Subject) -> Figures:
    facts, kind = opened.facts, reference_kind(subject.task)
    criterion = LossOptions(criterion="softmax" if facts.activation == "softmax" else "bce")
    task = assemble.build_task(criterion, subject.classes, facts.preprocess, torch.device("cpu"), kind=TASKS.resolve(facts.task))

    def answers() -> Iterator[tuple[int, np.ndarray]]:
        for index in range(len(subject.split)):
            yield index, kind.joined(opened.run(as_taken(opened, subject.split.read(index))[None]), facts)[0]

    return kind(task, subject.split).figures(answers(), facts)


def _open_exported(subject: Subject) -> tuple[Opened, int]:
    found = find_format(subject.path)
    if found is None:
        raise UserError(f"{subject.path} is gone")
    check_installed(found.name, found.to_open)
    size = sum(size_of(file) if file.is_dir() else file.stat().st_size for file in found.files(subject.path))
    return found.open(subject.path, threads=subject.threads), size


def _open_checkpoint(subject: Subject) -> tuple[Opened, int]:
    device, plain = torch.device("cpu"), ExportOptions()
    trained = load_trained(subject.path, subject.given, "benchmark", device)
    kind, numbers = reference_kind(trained.task), trained.preprocess
    task = kind.build_task(trained, device)
    answering = kind.deploy(trained, task, plain, any_size=True).answering
    # Boxes are chosen by the caller, as in a format without room for that.
    facts = Facts(
        arch=trained.config.model.arch,
        task=trained.task,
        classes=trained.classes,
        preprocess=numbers,
        exported_as="checkpoint",
        **kind.facts(trained, task, plain, Holds()),
    )

    def run(images: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            return as_arrays(answering(fit_images(torch.from_numpy(images), *numbers.image_size, numbers.resize)))

    return Opened(facts, run), subject.path.stat().st_size


def _resident() -> int | None:
    """Return the bytes of memory that this process holds; None where the system does not say."""
    file = Path("/proc/self/statm")
    return int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if file.is_file() else None
