"""Decode images of a split in several processes: into a file, of which each writes its own part, or to learn their sizes."""

import multiprocessing
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Dataset, Sampler

from dataloader.cache.pixel_store import plane_row
from dataloader.images.picture import Picture
from dataloader.images.read import ImageError
from dataloader.loading.workers import CurrentReads, WorkerPool
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


@dataclass(frozen=True, eq=False)
class _Measure(Dataset[int]):
    """Number of an image -> its measurement; -1 where it cannot be read."""

    of: Callable[[int], int]
    notes: CurrentReads

    def __getitem__(self, number: int) -> int:
        self.notes.note(number)
        try:
            return self.of(number)
        except ImageError:
            return -1
        finally:
            self.notes.note(-1)


class _Numbers(Sampler[int]):
    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)


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


def weigh(
    read: Callable[[int], Picture], numbers: Sequence[int], *, workers: int, name: Callable[[int], str]
) -> Generator[int, None, None]:
    """Yield the bytes of every image, decoded, in the order of the numbers; -1 where it cannot be read.

    Args:
        read: number -> picture.
        numbers, workers, name: as for `measure`.

    Raises:
        UserError: a process crashed.
    """
    return measure(partial(_bytes, read), numbers, workers=workers, name=name)


def _bytes(read: Callable[[int], Picture], number: int) -> int:
    return read(number).image.nbytes


def measure(of: Callable[[int], int], numbers: Sequence[int], *, workers: int, name: Callable[[int], str]) -> Generator[int, None, None]:
    """Yield a number for every image, in order; -1 where it cannot be read.

    Args:
        of: number of an image -> its measurement.
        numbers: which images.
        workers: processes; 0 works in this one, which a broken file can crash.
        name: number -> name of the image, for the message when a process crashes on it.

    Raises:
        UserError: a process crashed.
    """
    workers = min(workers, len(numbers))
    notes = CurrentReads(workers)
    pool = WorkerPool(_Measure(of, notes), _Numbers(numbers), workers=workers, pin_memory=False, notes=notes, name=name)
    try:
        pool.start()
        for _ in numbers:
            yield pool.take()
    finally:
        pool.dismiss()
