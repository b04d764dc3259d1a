"""Decoded images of any sizes behind one another in a memory-mapped file, read by number."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dataloader.images.read import ImageError
from utils.files import write_atomically, write_text

PIXELS, INDEX, FACTS = "pixels.bin", "index.npy", "facts.json"


class PixelStore:
    """Images that are read from memory, or from the pages of a file that the system keeps there for all processes.

    Args:
        place: the file of the pixels; a process that is handed the store opens it again.
        index: where an image starts in bytes, its height and its width, int64 (N, 3); no height, no image.
        unreadable: number of an image -> its path and the reason.
    """

    def __init__(self, place: str, index: np.ndarray, unreadable: Mapping[int, tuple[str, str]]) -> None:
        self.place = place
        self.index = index
        self.unreadable = unreadable
        # Copied on write: nothing that is done to an image reaches the file or another process. A file without a byte,
        # whose images are all unreadable, cannot be mapped.
        self._pixels = np.memmap(place, dtype=np.uint8, mode="c").view(np.ndarray) if index[:, 1].any() else np.empty(0, dtype=np.uint8)

    def __reduce__(self) -> tuple:
        return PixelStore, (self.place, self.index, self.unreadable)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return int((self.index[:, 1] * self.index[:, 2] * 3).sum())

    def chosen(self, numbers: Sequence[int]) -> "PixelStore":
        """Return a store of these images alone, in this order, in the same file."""
        lost = {place: self.unreadable[number] for place, number in enumerate(numbers) if number in self.unreadable}
        return PixelStore(self.place, self.index[np.asarray(numbers, dtype=np.int64)], lost)

    def read(self, index: int) -> np.ndarray:
        """Return image `index`, uint8 (H, W, 3), RGB: a view, not to be changed in place.

        Raises:
            ImageError: it could not be read when the store was filled.
        """
        if index in self.unreadable:
            raise ImageError(*self.unreadable[index])
        start, height, width = self.index[index].tolist()
        return self._pixels[start : start + height * width * 3].reshape(height, width, 3)


def save_store(folder: Path, index: np.ndarray, unreadable: Mapping[int, tuple[str, str]], facts: Mapping[str, Any]) -> None:
    """Write what `open_store` needs beside the pixels, which are in the folder already; `facts` are for people."""
    with (folder / PIXELS).open("rb") as pixels:
        os.fsync(pixels.fileno())
        size = os.fstat(pixels.fileno()).st_size

    def write_index(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, index)

    write_atomically(folder / INDEX, write_index)
    rows = [[number, *what] for number, what in sorted(unreadable.items())]
    write_text(folder / FACTS, json.dumps({**facts, "images": len(index), "bytes": size, "unreadable": rows}, indent=2) + "\n")


def open_store(folder: Path) -> PixelStore | None:
    """Return the store of a folder, or None where there is none or it is damaged."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8", errors="surrogateescape"))
        index = np.load(folder / INDEX)
        if (folder / PIXELS).stat().st_size != facts["bytes"] or index.shape != (facts["images"], 3):
            return None
        return PixelStore(str(folder / PIXELS), index, {number: (path, reason) for number, path, reason in facts["unreadable"]})
    except (OSError, ValueError, KeyError, TypeError):
        return None
