"""All images of a data set, each examined once by several processes, with the queries of the checks."""

import io
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from PIL import Image

from dataloader.checks.examine import FileFacts, examine
from dataloader.checks.near_duplicates import GRID, MIN_SIDE, MIN_SPREAD, grouped, near_pairs
from dataloader.images.read import decode_image
from dataloader.splits.catalog import Catalog
from dataloader.splits.split import Split
from utils.errors import UserError

CHUNK = 32
# Below this many images use one worker: starting more takes longer. Never zero, since a broken file can crash it.
FEW = 200


class ImageEntry(NamedTuple):
    """An image: its split, path relative to the root, file to open, and label (several are joined by a semicolon)."""

    split: str
    path: str
    file: str
    label: str


@dataclass(frozen=True, eq=False)
class Survey:
    """A data set and the facts of its images, numbered from 0 on, split after split.

    Attributes:
        catalog: the data set.
        facts: one per image.
        image_size: --image_size, height and width.
    """

    catalog: Catalog
    facts: Sequence[FileFacts]
    image_size: tuple[int, int]

    def picture(self, number: int) -> ImageEntry:
        """Return the entry of an image."""
        for name, split in self.catalog.splits.items():
            if number < len(split):
                return ImageEntry(name, split.paths[number], split.file(number), self._label(split, number))
            number -= len(split)
        raise IndexError(number)

    def numbers(self, split: str) -> range:
        """Return the numbers of the images of a split."""
        start = 0
        for name, members in self.catalog.splits.items():
            if name == split:
                return range(start, start + len(members))
            start += len(members)
        raise KeyError(split)

    @cached_property
    def readable(self) -> list[int]:
        """The images that can be read."""
        return [number for number, facts in enumerate(self.facts) if not facts.problem]

    @cached_property
    def copies(self) -> list[tuple[int, ...]]:
        """Groups of files that are the same, byte for byte."""
        found: dict[bytes, list[int]] = {}
        for number in self.readable:
            found.setdefault(self.facts[number].digest, []).append(number)
        return [tuple(members) for members in found.values() if len(members) > 1]

    @cached_property
    def comparable(self) -> list[int]:
        """One of every set of equal files, if it has enough pixels and contrast for a comparison by likeness."""
        first = {self.facts[number].digest: number for number in reversed(self.readable)}
        return [
            number
            for number in sorted(first.values())
            if min(self.facts[number].width, self.facts[number].height) >= MIN_SIDE
            and np.frombuffer(self.facts[number].grid, np.uint8).std() >= MIN_SPREAD
        ]

    @cached_property
    def lookalikes(self) -> list[tuple[int, ...]]:
        """Groups of different files with the same picture, each with all its equal files."""
        numbers = self.comparable
        if len(numbers) < 2:
            return []
        hashes = np.array([self.facts[number].look for number in numbers], dtype=np.uint64)
        grids = np.frombuffer(b"".join(self.facts[number].grid for number in numbers), np.uint8).reshape(-1, GRID, GRID)
        twins = {members[0]: members for members in self.copies}
        chosen = (tuple(numbers[place] for place in group) for group in grouped(near_pairs(hashes, grids)))
        return [tuple(sorted(each for number in group for each in twins.get(number, (number,)))) for group in chosen]

    def _label(self, split: Split, number: int) -> str:
        if split.truths is not None:
            return ""
        target = split.targets[number]
        if target.ndim == 0:
            return self.catalog.classes[int(target)]
        return ";".join(self.catalog.classes[index] for index in np.flatnonzero(target))


def look_at_all(
    files: Sequence[str], *, workers: int, advance: Callable[[int], object] = int, look: Callable[[str], FileFacts] = examine
) -> list[FileFacts]:
    """Return the facts of the files, in their order.

    A file that crashes the process that decodes it is reported as a fact; the others are not lost.

    Args:
        files: what to open.
        workers: processes; 0 works in this one, which a broken file can crash.
        advance: called with the number of files done since the last call.
        look: file -> facts; a module-level function, so that it can be pickled.

    Raises:
        UserError: processes also crash on an image that is known to be good.
    """
    if workers == 0:
        return [_told(look(file), advance) for file in files]
    workers = workers if len(files) >= FEW else 1
    facts: list[FileFacts] = [FileFacts()] * len(files)
    chunks = (range(start, min(start + CHUNK, len(files))) for start in range(0, len(files), CHUNK))
    lost: list[int] = []
    for chunk, answer in _in_processes(look, files, chunks, workers, ahead=4 * workers):
        if answer is None:
            lost += chunk
            continue
        for number, each in zip(chunk, answer, strict=True):
            facts[number] = _told(each, advance)
    # A process crashed, and its chunks are lost: each file is examined alone to find the one.
    singles = (range(number, number + 1) for number in lost)
    blames = False
    for chunk, answer in _in_processes(look, files, singles, 1, ahead=1):
        blames = blames or (answer is None and _is_sound(files[chunk[0]]))
        facts[chunk[0]] = _told(answer[0] if answer else FileFacts("crash", "the decoder crashed on it"), advance)
    return facts


def _is_sound(file: str) -> bool:
    """Return True if a process can decode a good image, so that `file` is the cause of the crash.

    Raises:
        UserError: it crashes on that one, too.
    """
    ((_, answer),) = _in_processes(_look_at_good_one, [file], iter([range(1)]), 1, ahead=1)
    if answer is None:
        raise UserError(
            f"a process crashed on {file}, and another one on a good image: usually the machine is out of memory. "
            "Free some, or use fewer processes (-j 1)"
        )
    return True


def _look_at_good_one(file: str) -> FileFacts:
    """Decode small images of the common formats instead of a file."""
    for form in ("JPEG", "PNG"):
        encoded = io.BytesIO()
        Image.new("RGB", (16, 16), "red").save(encoded, form)
        decode_image(encoded.getvalue(), file)
    return FileFacts()


def _told(facts: FileFacts, advance: Callable[[int], object]) -> FileFacts:
    advance(1)
    return facts


def _in_processes(
    look: Callable[[str], FileFacts], files: Sequence[str], chunks: Iterator[range], workers: int, *, ahead: int
) -> Iterator[tuple[range, list[FileFacts] | None]]:
    """Yield every chunk with its facts, or with None where a process crashed; at most `ahead` are in progress."""
    todo = next(chunks, None)
    while todo is not None:
        # Spawned rather than forked: a process with threads must not be forked, and this one draws a progress bar.
        others = multiprocessing.active_children()
        executor = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare)
        waiting: dict[Future[list[FileFacts]], range] = {}
        try:
            while todo is not None or waiting:
                while todo is not None and len(waiting) < ahead:
                    waiting[executor.submit(_look_at, look, [files[number] for number in todo])] = todo
                    todo = next(chunks, None)
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    answer = future.result()
                    yield waiting.pop(future), answer
        except BrokenProcessPool:
            for chunk in waiting.values():
                yield chunk, None
        except BaseException:
            # Stopped by Ctrl-C, perhaps while processes start: the executor could wait for them forever.
            for process in multiprocessing.active_children():
                if process not in others:
                    process.kill()
            raise
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def _look_at(look: Callable[[str], FileFacts], files: list[str]) -> list[FileFacts]:
    return [look(file) for file in files]


def _prepare() -> None:
    """Ignore Ctrl-C, and end when the main process ends, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
