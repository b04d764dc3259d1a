"""Decoded images of any sizes, concatenated in a memory-mapped file and read by number."""

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dataloader.images.picture import Picture
from dataloader.images.read import ImageError
from dataloader.targets.plane_change import along_axes
from utils.files import write_atomically, write_text

PIXELS, INDEX, PLANES, FACTS = "pixels.bin", "index.npy", "planes.npy", "facts.json"


class PixelStore:
    """Images in a memory-mapped file, whose pages all processes share.

    Args:
        place: the file of the pixels; unpickling a store opens it again.
        index: where an image starts in bytes, its height and its width, int64 (N, 3); height 0 means that there is no image.
        planes: how each image lies on the original, float64 (N, 6): the height and width of the original, then scale and shift along
            x, then along y.
        unreadable: number of an image -> its path and the reason.
        bands: channels of all images, 3 or 4.
    """

    def __init__(
        self, place: str, index: np.ndarray, planes: np.ndarray, unreadable: Mapping[int, tuple[str, str]], bands: int = 3
    ) -> None:
        self.place = place
        self.index = index
        self.planes = planes
        self.unreadable = unreadable
        self.bands = bands
        # Copy on write: changes of an image reach neither the file nor another process. An empty file, all of whose images are
        # unreadable, cannot be mapped.
        self._pixels = np.memmap(place, dtype=np.uint8, mode="c").view(np.ndarray) if index[:, 1].any() else np.empty(0, dtype=np.uint8)

    def __reduce__(self) -> tuple:
        return PixelStore, (self.place, self.index, self.planes, self.unreadable, self.bands)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return int((self.index[:, 1] * self.index[:, 2] * self.bands).sum())

    def subset(self, numbers: Sequence[int]) -> "PixelStore":
        """Return a store of only these images, in this order, on the same file."""
        lost = {place: self.unreadable[number] for place, number in enumerate(numbers) if number in self.unreadable}
        rows = np.asarray(numbers, dtype=np.int64)
        return PixelStore(self.place, self.index[rows], self.planes[rows], lost, self.bands)

    def read(self, index: int) -> np.ndarray:
        """Return image `index`, uint8 (H, W, bands), RGB: a view, not to be changed in place.

        Raises:
            ImageError: it could not be read when the store was filled.
        """
        if index in self.unreadable:
            raise ImageError(*self.unreadable[index])
        start, height, width = self.index[index].tolist()
        return self._pixels[start : start + height * width * self.bands].reshape(height, width, self.bands)

    def read_picture(self, index: int) -> Picture:
        """Return image `index` with where its pixels lie on the whole image of the file.

        Raises:
            ImageError: it could not be read when the store was filled.
        """
        image = self.read(index)
        high, wide, across, right, down, below = self.planes[index].tolist()
        return Picture(image, (int(high), int(wide)), along_axes((across, right), (down, below), (image.shape[0], image.shape[1])))


def plane_row(picture: Picture) -> tuple[float, ...]:
    """Return the row of the planes of a store for a picture."""
    assert picture.change.is_axis_aligned, "reading only turns an image to put it upright"
    (across, _, right), (_, down, below), _ = picture.change.rows
    return (*picture.size, across, right, down, below)


def save_store(
    folder: Path, index: np.ndarray, planes: np.ndarray, unreadable: Mapping[int, tuple[str, str]], facts: Mapping[str, Any]
) -> None:
    """Write what `open_store` needs in addition to the pixels, which are in the folder already; `facts` are for people."""
    with (folder / PIXELS).open("rb") as pixels:
        os.fsync(pixels.fileno())
        size = os.fstat(pixels.fileno()).st_size

    for name, array in ((INDEX, index), (PLANES, planes)):
        write_atomically(folder / name, partial(_write_array, array))
    rows = [[number, *what] for number, what in sorted(unreadable.items())]
    write_text(folder / FACTS, json.dumps({**facts, "images": len(index), "bytes": size, "unreadable": rows}, indent=2) + "\n")


def _write_array(array: np.ndarray, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, array)


def open_store(folder: Path) -> PixelStore | None:
    """Return the store of a folder, or None where there is none or it is damaged."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8", errors="surrogateescape"))
        index, planes = np.load(folder / INDEX), np.load(folder / PLANES)
        shapes = (facts["images"], 3), (facts["images"], 6)
        if (folder / PIXELS).stat().st_size != facts["bytes"] or (index.shape, planes.shape) != shapes:
            return None
        unreadable = {number: (path, reason) for number, path, reason in facts["unreadable"]}
        return PixelStore(str(folder / PIXELS), index, planes, unreadable, facts.get("bands", 3))
    except (OSError, ValueError, KeyError, TypeError):
        return None
