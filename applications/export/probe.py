"""A written file asked in a process of its own: opened by its runtime alone, fed from the bytes of image files."""

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from applications.export import reference_kind
from applications.export.answers import Answers
from applications.export.extra_outputs import positions_of_extras
from applications.export.other_size import chosen_of, read_taller
from applications.formats import build_format
from applications.formats.facts import Facts
from applications.formats.format import Format, Opened
from dataloader.images.preprocess import fit_pixels
from dataloader.splits.split import Split
from utils.busy_machine import sleep_when_busy
from utils.errors import UserError
from utils.progress_bar import progress_bar
from utils.timing import Timing, measure_times

ROOT = Path(__file__).resolve().parent.parent.parent
# The folder of the call is kept, so that relative paths mean the same; modules are found here alone.
START = "import sys; sys.path[0] = sys.argv[1]; from applications.export.probe import main; sys.exit(main(sys.argv[2], sys.argv[3]))"
# Pixels that wait for others of their size, in bytes.
MOST_WAITING = 2**28
SECONDS = 0.5
# Images that are asked about before one is timed.
MET = 8
# What the process says after each image.
ONE_DONE = "one image done"
# Its exit code where its answers cannot be written, for which the file is not to blame.
NOT_WRITTEN = 3


class RuntimeFailedError(Exception):
    """The runtime could not open the file, or not answer; the reason in one line."""


@dataclass(frozen=True)
class Job:
    """What to ask a file.

    Attributes:
        format: row of FORMATS.
        path: the file.
        split: the images.
        batch: how many go in together, beside one by one.
        threads: of the runtime.
        inner: ask for what is computed on the way, for the first image alone.
    """

    format: str
    path: Path
    split: Split
    batch: int
    threads: int
    inner: bool = False


def ask(job: Job) -> Answers:
    """Have a fresh process open the file and answer for all images.

    Raises:
        RuntimeFailedError: it could not.
        UserError: there is no room for its answers.
    """
    with tempfile.TemporaryDirectory() as folder:
        arrays = _run(job, Path(folder))
    told = json.loads(str(arrays["told"]))
    facts, timing = Facts.from_json(told["facts"]), Timing(**told["timing"])
    extras = tuple(arrays[f"extra{number}"] for number in range(told["extras"]))
    return Answers(facts, arrays["single"], arrays["batched"], timing, told["open_seconds"], extras, arrays.get("taller"))


def ask_inner(job: Job) -> list[np.ndarray]:
    """Have a fresh process say what the file computes on the way for the first image; nothing where that cannot be seen."""
    with tempfile.TemporaryDirectory() as folder:
        arrays = _run(job, Path(folder))
    return [arrays[name] for name in sorted(arrays)]


def _run(job: Job, folder: Path) -> dict[str, np.ndarray]:
    asked, answered = folder / "job.pickle", folder / "answers.npz"
    asked.write_bytes(pickle.dumps(job))
    command = [sys.executable, "-c", START, str(ROOT), str(asked), str(answered)]
    # A file takes whatever it says, so that it never waits for a reader.
    with (folder / "errors").open("w+", encoding="utf-8", errors="replace") as errors:
        with (
            progress_bar(f"{job.format} images", 1 if job.inner else len(job.split)) as advance,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace") as process,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                advance(line.strip() == ONE_DONE)
        errors.seek(0)
        lines = [line.strip() for line in errors if line.strip()]
    if process.returncode == NOT_WRITTEN:
        raise UserError(
            f"answers are kept in {tempfile.gettempdir()} for a moment: {lines[-1]}; free some space, or name another folder in TMPDIR"
        )
    if process.returncode != 0 or not answered.is_file():
        raise RuntimeFailedError(lines[-1] if lines and process.returncode > 0 else f"it ended with code {process.returncode}")
    with np.load(answered) as content:
        return dict(content)


def main(asked: str, answered: str) -> int:
    """Do the job that is pickled in a file; write the answers to another."""
    # Written by `_run` a moment ago, in a folder that only this user may read.
    job: Job = pickle.loads(Path(asked).read_bytes())
    torch.set_num_threads(job.threads)
    sleep_when_busy()
    found = build_format(job.format)
    try:
        arrays = _look_inside(found, job) if job.inner else _answer(found, job)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    try:
        np.savez(answered, **arrays)  # pyright: ignore[reportArgumentType]
    except OSError as error:
        print(os.strerror(error.errno or 0).lower(), file=sys.stderr)
        return NOT_WRITTEN
    return 0


def _look_inside(found: Format, job: Job) -> dict[str, np.ndarray]:
    opened = found.open(job.path, threads=job.threads)
    images = as_taken(opened, job.split.read(0))[None]
    return {f"{number:06d}": value for number, value in enumerate(found.inner_values(job.path, images))}


def _answer(found: Format, job: Job) -> dict[str, Any]:
    start = time.perf_counter()
    opened = found.open(job.path, threads=job.threads)
    open_seconds = time.perf_counter() - start
    open_seconds += first_answer(opened, job.split)
    timing = time_alone(opened, job.split, SECONDS)
    together = Together(opened, job.batch)
    chosen, beside = chosen_of(job.split), positions_of_extras(opened.facts)
    single, extras, others = [], [], {}
    for index in range(len(job.split)):
        if index == len(job.split) // 2 and opened.facts.any_size:
            # In the middle, since a runtime may compute otherwise once it has met another size: half of the images are answered so.
            taller = (read_taller(job.split, each) for each in chosen)
            others["taller"] = np.stack([together.ask(as_taken(opened, image)[None])[0] for image in taller])
        pixels = as_taken(opened, job.split.read(index))
        outputs = opened.run(pixels[None])
        single.append(together.joined(outputs, opened.facts)[0])
        if index in chosen:
            extras.append([outputs[position][0] for position in beside])
        together.add(index, pixels)
        print(ONE_DONE, flush=True)
    others |= {f"extra{number}": np.stack(each) for number, each in enumerate(zip(*extras, strict=True))}
    told = {"facts": opened.facts.to_json(), "timing": vars(timing), "open_seconds": open_seconds, "extras": len(beside)}
    return {"single": np.stack(single), **others, "batched": together.finish(), "told": np.array(json.dumps(told))}


def as_taken(opened: Opened, image: np.ndarray) -> np.ndarray:
    """Return an image (h, w, 3) as the file takes it: uint8 (3, h, w), at the network's size where the geometry is not in the file."""
    if not opened.facts.any_size:
        numbers = opened.facts.preprocess
        image = fit_pixels(image, *numbers.image_size, numbers.resize)
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def first_answer(opened: Opened, split: Split) -> float:
    """Return the seconds until a file that was just opened has answered one image: some runtimes compile only then."""
    image = as_taken(opened, split.read(0))[None]
    start = time.perf_counter()
    opened.run(image)
    return time.perf_counter() - start


def time_alone(opened: Opened, split: Split, seconds: float) -> Timing:
    """Return how long the first image of a split takes, where a runtime that compiles for one size has met those of several images."""
    for index in range(min(MET, len(split))):
        opened.run(as_taken(opened, split.read(index))[None])
    first = as_taken(opened, split.read(0))[None]
    (timing,) = measure_times([lambda: opened.run(first)], seconds=seconds)
    return timing


class Together:
    """Asks for several images at a time: those of one size as they are, the others at the network's size.

    Args:
        opened: the file.
        batch: how many go in together at most.
    """

    def __init__(self, opened: Opened, batch: int) -> None:
        self.opened = opened
        self.batch = batch
        self.joined = reference_kind(opened.facts.task).joined
        self.answers: dict[int, np.ndarray] = {}
        self._waiting: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = {}
        self.waiting_bytes = 0

    def ask(self, images: np.ndarray) -> np.ndarray:
        """Return the answers (N, ...) for images uint8 (N, 3, h, w)."""
        return self.joined(self.opened.run(images), self.opened.facts)

    def add(self, index: int, pixels: np.ndarray) -> None:
        """Take one image, uint8 (3, h, w)."""
        self._waiting.setdefault(pixels.shape, []).append((index, pixels))
        self.waiting_bytes += pixels.nbytes
        if len(self._waiting[pixels.shape]) == self.batch:
            group = self._waiting.pop(pixels.shape)
            self.waiting_bytes -= sum(each.nbytes for _, each in group)
            self._ask(group)
        if self.waiting_bytes > MOST_WAITING:
            self._flush()

    def finish(self) -> np.ndarray:
        """Return the answers (N, ...), in the order of the images."""
        self._flush()
        return np.stack([self.answers[index] for index in sorted(self.answers)])

    def _flush(self) -> None:
        groups, self._waiting, self.waiting_bytes = list(self._waiting.values()), {}, 0
        numbers = self.opened.facts.preprocess
        alone = []
        for group in groups:
            if len(group) > 1:
                self._ask(group)
            else:
                (index, pixels), *_ = group
                fitted = fit_pixels(pixels.transpose(1, 2, 0), *numbers.image_size, numbers.resize)
                alone.append((index, np.ascontiguousarray(fitted.transpose(2, 0, 1))))
        for start in range(0, len(alone), self.batch):
            self._ask(alone[start : start + self.batch])

    def _ask(self, group: Sequence[tuple[int, np.ndarray]]) -> None:
        # A batch is of two at least.
        images = np.stack([pixels for _, pixels in group] * (2 if len(group) == 1 else 1))
        for (index, _), answer in zip(group, self.ask(images), strict=False):
            self.answers[index] = answer
