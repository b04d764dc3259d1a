"""Hashes of image content, which identify equal files wherever they are: 8 bytes per image.

Files of up to 4 MiB are hashed as a whole; of larger ones, the size and 256 evenly spaced pieces, which is at least a row of every
object in an uncompressed image. An image that was saved again, scaled or cropped has another hash.
"""

import hashlib
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dataloader.images.read import ImageError
from dataloader.splits.split import Split

# The parts of a file that are hashed. Change VERSION with them: hashes of two versions cannot be compared.
VERSION = 2
PIECE, PIECES = 16 * 1024, 256
# Seconds per file above which threads are used: a slow disk or network serves several requests at a time.
SLOW, PROBES, THREADS = 0.001, 64, 16
# The hash of an image that cannot be read.
NOTHING = 0


def content_hashes(split: Split, indices: Iterable[int] | None = None) -> np.ndarray:
    """Return a hash of each image, int64 (N,); NOTHING where it cannot be read.

    Args:
        split: the images.
        indices: which of them; all when not given.
    """
    numbers = list(range(len(split)) if indices is None else indices)

    def of(index: int) -> int:
        try:
            return _of_file(split.file(index)) if split.store is None else _of_bytes(split.read_bytes(index))
        except (OSError, ImageError):
            return NOTHING

    started = time.perf_counter()
    found = [of(index) for index in numbers[:PROBES]]
    rest = numbers[PROBES:]
    if rest and (time.perf_counter() - started) / PROBES > SLOW:
        with ThreadPoolExecutor(THREADS) as pool:
            found += pool.map(of, rest)
    else:
        found += map(of, rest)
    return np.array(found, dtype=np.int64)


def count_known(hashes: np.ndarray, known: np.ndarray) -> int:
    """Return how many images, by their hashes, are among the known ones."""
    return int((np.isin(hashes, known) & (hashes != NOTHING)).sum())


def _of_file(file: str) -> int:
    # Without O_NONBLOCK, opening a pipe would block forever.
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        size = os.fstat(descriptor).st_size
        return _joined(size, (os.pread(descriptor, length, start) for start, length in _pieces(size)))
    finally:
        os.close(descriptor)


def _of_bytes(data: bytes) -> int:
    return _joined(len(data), (data[start : start + length] for start, length in _pieces(len(data))))


def _pieces(size: int) -> list[tuple[int, int]]:
    """Return (first byte, length) of the parts of a file to hash."""
    if size <= PIECE * PIECES:
        return [(0, size)]
    return [((size - PIECE) * number // (PIECES - 1), PIECE) for number in range(PIECES)]


def _joined(size: int, pieces: Iterable[bytes]) -> int:
    digest = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=8)
    for piece in pieces:
        digest.update(piece)
    return int.from_bytes(digest.digest(), "little", signed=True)
