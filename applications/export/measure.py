"""A checkpoint or an exported file measured in a process of its own: time, memory, size, and its answers."""

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from applications.export.probe import ROOT, RuntimeFailedError
from applications.export.staging import size_of
from applications.formats.deployed import deploy
from applications.formats.facts import Facts
from applications.formats.format import Opened
from applications.formats.package import check_installed
from applications.formats.torchscript import as_arrays
from applications.trained.checkpoint import load_trained
from applications.trained.exported import find_format
from applications.trained.trained_task import build_label_task
from dataloader.images.preprocess import fit_images, fit_pixels
from dataloader.splits.split import Split
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
        threads: of the runtime.
    """

    path: Path
    exported: bool
    given: Mapping[str, Any]
    split: Split
    threads: int


@dataclass(frozen=True)
class Measured:
    """What a process of its own found.

    Attributes:
        facts: what the model says of itself.
        probabilities: (N, C) for the images of the split, one at a time.
        load_seconds: until it could answer, without importing PyTorch.
        one: time of one image, from its pixels to the answer.
        many: the same for BATCH images of the network's own size.
        memory: bytes that opening and answering added; None where the system does not say.
        size: bytes of all its files.
    """

    facts: Facts
    probabilities: np.ndarray
    load_seconds: float
    one: Timing
    many: Timing
    memory: int | None
    size: int

    @property
    def throughput(self) -> float:
        """Images a second, several at a time."""
        return BATCH / self.many.median


def measure(subject: Subject) -> Measured:
    """Measure in a fresh process.

    Raises:
        RuntimeFailedError: it could not be opened, or not answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "subject.pickle", Path(folder) / "measured.npz"
        asked.write_bytes(pickle.dumps(subject))
        command = [sys.executable, "-c", START, str(ROOT), str(asked), str(answered)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0 or not answered.is_file():
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise RuntimeFailedError(lines[-1] if lines and done.returncode > 0 else f"it ended with code {done.returncode}")
        with np.load(answered) as content:
            told, probabilities = json.loads(str(content["told"])), content["probabilities"]
    facts, one, many = Facts.from_json(told.pop("facts")), Timing(**told.pop("one")), Timing(**told.pop("many"))
    return Measured(facts, probabilities, one=one, many=many, **told)


def main(asked: str, answered: str) -> int:
    """Measure the subject that is pickled in a file; write what was found to another."""
    # Written by `measure` a moment ago, in a folder that only this user may read.
    subject: Subject = pickle.loads(Path(asked).read_bytes())
    torch.set_num_threads(subject.threads)
    try:
        found = _measure(subject)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    told = {
        "facts": found.facts.to_json(),
        "load_seconds": found.load_seconds,
        "one": vars(found.one),
        "many": vars(found.many),
        "memory": found.memory,
        "size": found.size,
    }
    np.savez(answered, probabilities=found.probabilities, told=np.array(json.dumps(told)))
    return 0


def _measure(subject: Subject) -> Measured:
    first = subject.split.read(0)
    before, start = _resident(), time.perf_counter()
    opened, size = _open_exported(subject) if subject.exported else _open_checkpoint(subject)
    load_seconds = time.perf_counter() - start
    single = _as_taken(opened, first)[None]
    numbers = opened.facts.preprocess
    fitted = fit_pixels(first, *numbers.image_size, numbers.resize).transpose(2, 0, 1)
    several = np.ascontiguousarray(np.stack([fitted] * BATCH))
    (one,) = measure_times([lambda: opened.run(single)], seconds=SECONDS)
    (many,) = measure_times([lambda: opened.run(several)], seconds=SECONDS)
    after = _resident()
    memory = None if before is None or after is None else max(0, after - before)
    images = (subject.split.read(index) for index in range(len(subject.split)))
    answers = np.stack([opened.run(_as_taken(opened, image)[None])[0][0] for image in images])
    return Measured(opened.facts, answers, load_seconds, one, many, memory, size)


def _open_exported(subject: Subject) -> tuple[Opened, int]:
    found = find_format(subject.path)
    if found is None:
        raise UserError(f"{subject.path} is gone")
    check_installed(found.name, found.to_open)
    size = sum(size_of(file) if file.is_dir() else file.stat().st_size for file in found.files(subject.path))
    return found.open(subject.path, threads=subject.threads), size


def _open_checkpoint(subject: Subject) -> tuple[Opened, int]:
    device = torch.device("cpu")
    trained = load_trained(subject.path, subject.given, "benchmark", device)
    activation, numbers, arch = (
        build_label_task(trained, device).criterion.activation,
        trained.preprocess,
        trained.config.model.arch,
    )
    answering = deploy(trained.model, numbers, activation, arch=arch, temperature=trained.calibration.temperature).answering
    facts = Facts(
        arch,
        trained.task,
        trained.classes,
        numbers,
        activation,
        **asdict(trained.calibration),
        exported_as="checkpoint",
    )

    def run(images: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            return as_arrays(answering(fit_images(torch.from_numpy(images), *numbers.image_size, numbers.resize)))

    return Opened(facts, run), subject.path.stat().st_size


def _as_taken(opened: Opened, image: np.ndarray) -> np.ndarray:
    """Return an image (h, w, 3) as the model takes it, uint8 (3, h, w)."""
    if not opened.facts.any_size:
        numbers = opened.facts.preprocess
        image = fit_pixels(image, *numbers.image_size, numbers.resize)
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _resident() -> int | None:
    """Return the bytes of memory that this process holds; None where the system does not say."""
    file = Path("/proc/self/statm")
    return int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if file.is_file() else None
