"""Checks that files have not changed since they were found, and that no copy is in two splits."""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from dataloader.images.picture import Picture
from dataloader.images.read import ImageError
from dataloader.splits.catalog import Catalog
from dataloader.splits.split import Split
from dataloader.workers.measure_images import weigh
from utils.errors import UserError
from utils.logs import log
from utils.text import counted

# Bytes that distinguish nearly all files of equal size without reading all of them.
_PROBE = 4096


class Leak(NamedTuple):
    """A file in a later split that equals one in an earlier split, byte for byte."""

    earlier: str
    later: str


def stamp(split: Split) -> Split:
    """Return the split with the size and modification time of every file, to notice later changes."""
    return replace(split, stamps=np.array([_stamp(split, index) for index in range(len(split))], np.int64).reshape(-1, 2))


def _stamp(split: Split, index: int) -> tuple[int, int]:
    if split.store is None:
        return file_stamp(split.file(index))
    try:
        return split.stamp(index)
    except ImageError:
        return -1, 0


def file_stamp(file: str) -> tuple[int, int]:
    """Return size in bytes and time of the last change in nanoseconds; (-1, 0) for anything but a file."""
    try:
        status = os.stat(file)
    except OSError:
        return -1, 0
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else (-1, 0)


def fingerprint(split: Split) -> str:
    """Return a short hash of the relative paths, targets, weights and, where known, sizes: to notice that a split has changed."""
    digest = hashlib.blake2b(digest_size=16)
    # Without the times of files, so that a copy of the data has the same hash.
    sizes = split.stamps[:, 0].tolist() or [""] * len(split)
    for path, target, size in zip(split.paths, split.targets, sizes, strict=True):
        digest.update(f"{path}\0{target.tolist()}\0{size}\n".encode(errors="surrogateescape"))
    if (split.weights != 1).any():
        digest.update(split.weights.tobytes())
    return digest.hexdigest()


def has_changed(split: Split, index: int) -> bool:
    """Whether a file of a stamped split exists with another size or time than when it was stamped."""
    if len(split.stamps) == 0:
        return False
    now = _stamp(split, index)
    # A missing file is reported by the reader, not here.
    return now[0] >= 0 and now != tuple(split.stamps[index].tolist())


class CachedFiles:
    """The files of a stamped split whose pixels come from a cache, which does not notice changes of the files.

    Args:
        split: stamped; of another one no change is noticed.
    """

    def __init__(self, split: Split) -> None:
        self.split = split
        self._told = np.zeros(len(split.stamps), dtype=np.bool_)

    def look(self) -> None:
        """Log in one line how many files changed or vanished since the last check; no file is opened."""
        if len(self._told) == 0:
            return
        moved = (stamp(self.split).stamps != self.split.stamps).any(1) & ~self._told
        if moved.any():
            self._told |= moved
            log().warning(
                f"{counted(int(moved.sum()), f'{self.split.name} image')} changed or vanished on disk, such as "
                f"{self.split.file(int(moved.argmax()))}; the run goes on with the cached pixels"
            )


def glance(read: Callable[[int], Picture], split: Split, *, workers: int, seconds: float) -> Iterator[ImageError]:
    """Yield the errors of images of a split that cannot be read, as far as they are examined in this time.

    Args:
        read: index -> picture, in the fastest way.
        split: the images.
        workers: processes that decode.
        seconds: after which no more are examined.

    Raises:
        UserError: a file crashed the process that decoded it.
    """
    until = time.monotonic() + seconds
    sizes = weigh(read, range(len(split)), workers=workers, name=split.file)
    try:
        for index, size in enumerate(sizes):
            if size < 0:
                try:
                    read(index)
                except ImageError as error:
                    yield error
            if time.monotonic() > until:
                return
    finally:
        sizes.close()


def refuse_unreadable(split: Split, errors: Sequence[ImageError]) -> None:
    """Raise UserError if images of a split that must be complete cannot be read."""
    if errors:
        count = counted(len(errors), f"{split.name} image")
        such_as, them = ("", "it") if len(errors) == 1 else ("such as ", "them")
        raise UserError(f"cannot read {count}, {such_as}{errors[0].path}: {errors[0].reason}; fix or remove {them}, then start again")


def find_leaks(catalog: Catalog) -> list[Leak]:
    """Return the files of a split that equal one of an earlier split, byte for byte.

    Only files of equal size are compared, and first only a piece: a fraction of a second for 10,000 photographs.
    """
    images = [(split, index) for split in catalog.splits.values() for index in range(len(split))]
    places = [place for place, split in enumerate(catalog.splits.values()) for _ in range(len(split))]
    sizes = [int(size) for split in catalog.splits.values() for size in _sizes(split)]

    def shared(groups: Iterable[list[int]], key: Callable[[int], object]) -> list[list[int]]:
        """Divide groups by a key; return those that are in two splits."""
        parts: list[list[int]] = []
        for group in groups:
            found: dict[object, list[int]] = {}
            for number in group:
                found.setdefault(key(number), []).append(number)
            parts += found.values()
        return [part for part in parts if len({places[number] for number in part}) > 1]

    groups = shared([[number for number, size in enumerate(sizes) if size > 0]], lambda number: sizes[number])
    groups = shared(groups, lambda number: _digest(*images[number], sizes[number], whole=False))
    groups = shared(groups, lambda number: _digest(*images[number], sizes[number], whole=True))

    def file_of(number: int) -> str:
        split, index = images[number]
        return split.file(index)

    leaks = []
    for group in groups:
        first = min(group, key=lambda number: places[number])
        leaks += [Leak(file_of(first), file_of(number)) for number in group if places[number] != places[first]]
    return leaks


def find_torn_groups(catalog: Catalog) -> dict[str, list[tuple[str, int]]]:
    """Return group -> (split, index) of its images, for the groups that are in two splits or more."""
    found: dict[str, list[tuple[str, int]]] = {}
    for name, split in catalog.splits.items():
        for index, group in enumerate(split.groups):
            if group:
                found.setdefault(group, []).append((name, index))
    return {group: places for group, places in found.items() if len({name for name, _ in places}) > 1}


def _sizes(split: Split) -> list[int]:
    return (split.stamps if len(split.stamps) else stamp(split).stamps)[:, 0].tolist()


def _digest(split: Split, index: int, size: int, *, whole: bool) -> bytes:
    """Return a hash of a file, or of a piece from its middle; its own name where it cannot be read."""
    file = split.file(index)
    if split.store is not None:
        try:
            return _hash(split.read_bytes(index)).digest()
        except ImageError:
            return os.fsencode(file)
    try:
        with open(file, "rb") as opened:
            if whole and size > _PROBE:
                return hashlib.file_digest(opened, _hash).digest()
            opened.seek(max(0, (size - _PROBE) // 2))
            return _hash(opened.read(_PROBE)).digest()
    except OSError:
        return os.fsencode(file)


def _hash(data: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(data, digest_size=16)
