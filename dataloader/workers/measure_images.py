"""A number for every image, such as its size, found in several processes."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from torch.utils.data import Dataset, Sampler

from dataloader.images.picture import Picture
from dataloader.images.read import ImageError
from dataloader.workers.pool import CurrentReads, WorkerPool


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
