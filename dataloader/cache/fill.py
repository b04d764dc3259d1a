"""Decode images of a split into a file, of which each of several processes writes its own part."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Dataset, Sampler

from dataloader.cache.pixel_store import plane_row
from dataloader.images.picture import Picture
from dataloader.images.read import ImageError
from dataloader.workers.pool import CurrentReads, WorkerPool
from utils.errors import UserError

# Images per task of a process: few enough that the progress bar moves.
PORTION = 32


class Part(NamedTuple):
    """The result of a chunk of images.

    Attributes:
        numbers: which images, int64 (n,).
        rows: their rows of the index, int64 (n, 3).
        planes: their rows of the planes, float64 (n, 6).
        unreadable: number of an image -> its path and the reason.
    """

    numbers: np.ndarray
    rows: np.ndarray
    planes: np.ndarray
    unreadable: dict[int, tuple[str, str]]


class Filled(NamedTuple):
    """What a PixelStore needs in addition to the file of the pixels; see its arguments."""

    index: np.ndarray
    planes: np.ndarray
    unreadable: dict[int, tuple[str, str]]


@dataclass(frozen=True, eq=False)
class _Filler(Dataset[Part | UserError]):
    """Writes chunks of images into the file `place`; `end` counts the bytes that are used."""

    read: Callable[[int], Picture]
    place: str
    notes: CurrentReads
    end: Any = field(default_factory=lambda: multiprocessing.Value("q", 0))

    def __getitem__(self, numbers: np.ndarray) -> Part | UserError:
        images, rows, unreadable = [], np.zeros((len(numbers), 3), dtype=np.int64), {}
        planes = np.zeros((len(numbers), 6))
        for row, plane, number in zip(rows, planes, numbers.tolist(), strict=True):
            self.notes.note(number)
            try:
                picture = self.read(number)
            except ImageError as error:
                unreadable[number] = (error.path, error.reason)
                continue
            image = np.ascontiguousarray(picture.image)
            plane[:] = plane_row(picture)
            row[:] = image.nbytes, *image.shape[:2]
            images.append(image)
        self.notes.note(-1)
        size = int(rows[:, 0].sum())
        with self.end.get_lock():
            start = self.end.value
            self.end.value += size
        rows[:, 0] = start + np.cumsum(rows[:, 0]) - rows[:, 0]
        try:
            self._write(images, start)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            return UserError(f"--cache: cannot write {self.place}: {reason}; free some space or choose another --cache_dir")
        return Part(numbers, rows, planes, unreadable)

    def _write(self, images: list[np.ndarray], start: int) -> None:
        handle = os.open(self.place, os.O_WRONLY)
        try:
            for image in images:
                rest = image.data.cast("B")
                while rest:
                    written = os.pwrite(handle, rest, start)
                    start += written
                    rest = rest[written:]
        finally:
            os.close(handle)


class _Portions(Sampler[np.ndarray]):
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return -(-self.count // PORTION)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (np.arange(first, min(first + PORTION, self.count)) for first in range(0, self.count, PORTION))


def fill(
    read: Callable[[int], Picture], count: int, place: str, *, workers: int, advance: Callable[[int], Any], name: Callable[[int], str]
) -> Filled:
    """Write the images 0 to count - 1 into the file `place`, which exists; return what a PixelStore needs in addition.

    Args:
        read: number -> picture.
        count: images.
        place: the file.
        workers: processes; 0 works in this one.
        advance: called after every chunk with its number of images.
        name: number -> name of the image, for the message when a process crashes on it.

    Raises:
        UserError: the file cannot be written, or a process crashed.
    """
    portions = _Portions(count)
    workers = min(workers, len(portions))
    notes = CurrentReads(workers)
    pool = WorkerPool(_Filler(read, place, notes), portions, workers=workers, pin_memory=False, notes=notes, name=name)
    index, planes = np.zeros((count, 3), dtype=np.int64), np.zeros((count, 6))
    unreadable: dict[int, tuple[str, str]] = {}
    try:
        pool.start()
        for _ in range(len(portions)):
            part = pool.take()
            if isinstance(part, UserError):
                raise part
            index[part.numbers] = part.rows
            planes[part.numbers] = part.planes
            unreadable |= part.unreadable
            advance(len(part.numbers))
    finally:
        pool.dismiss()
    return Filled(index, planes, unreadable)
