"""The boxes of a data set, all of them in a few arrays, whatever files they come from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataloader.images.read import ImageError, upright_size
from dataloader.targets.boxes import Boxes, areas
from dataloader.targets.plane_change import Size


class BoxRows(NamedTuple):
    """The boxes of one image as its file gives them, before anything is clipped or left out.

    Attributes:
        corners: float64 (K, 4) of left, top, right, bottom, in pixels, or in shares of the image.
        classes: int64 (K,).
        crowd: bool (K,), see `Boxes`.
        areas: float64 (K,) of the objects in pixels, nan where the file does not say.
        lines: int64 (K,), where in the file each is: a line, or the number of an object, from 1 on.
    """

    corners: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    lines: np.ndarray


class BoxRow(NamedTuple):
    """One box of a file; see `BoxRows`."""

    corners: tuple[float, float, float, float]
    number: int
    line: int
    crowd: bool = False
    area: float = float("nan")


def rows_of(boxes: Sequence[BoxRow]) -> BoxRows:
    """Return single boxes as arrays."""
    return BoxRows(
        np.array([each.corners for each in boxes], np.float64).reshape(-1, 4),
        np.array([each.number for each in boxes], np.int64),
        np.array([each.crowd for each in boxes], bool),
        np.array([each.area for each in boxes], np.float64),
        np.array([each.line for each in boxes], np.int64),
    )


@dataclass(frozen=True, eq=False)
class BoxTable:
    """The truths of images with boxes.

    Attributes:
        root: of the images.
        classes: names of the numbers of their classes, from 0 on.
        places: image -> first and last row, exclusive, of its boxes.
        rows: of all images, one after the other.
        in_shares: whether corners are shares of the image, in place of pixels.
        sizes: image -> (H, W) where a file says so; else the image is asked.
        files: image -> the file that holds its boxes, for messages.
        unit: what the numbers in `rows.lines` count: a line, an object, an annotation.
        unlabeled: images that no file of boxes belongs to; they are left out, or hold nothing.
        alone: files of boxes whose image is gone.
    """

    root: Path
    classes: tuple[str, ...]
    places: Mapping[str, tuple[int, int]]
    rows: BoxRows
    in_shares: bool = False
    sizes: Mapping[str, Size] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    unit: str = "line"
    unlabeled: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()

    def raw(self, path: str) -> tuple[BoxRows, Size]:
        """Return the boxes of an image in pixels, as its file gives them, and its size.

        Raises:
            ImageError: no file names it, or its size cannot be read.
        """
        if path not in self.places:
            raise ImageError(path, "no list of boxes names it")
        size = self.sizes.get(path) or upright_size(self.root / path)
        mine = BoxRows(*(part[slice(*self.places[path])] for part in self.rows))
        scale = np.array([size[1], size[0]] * 2, np.float64)
        return mine._replace(corners=mine.corners * scale) if self.in_shares else mine, size

    def read(self, path: str) -> Boxes:
        """Return the boxes of an image, clipped to it; those that have no area there are left out.

        Raises:
            ImageError: no file names it, or its size cannot be read.
        """
        rows, (height, width) = self.raw(path)
        corners = rows.corners.clip(0, [width, height, width, height])
        own = areas(corners)
        kept = own > 0
        told = np.where(np.isnan(rows.areas), own, rows.areas)[kept].astype(np.float32)
        return Boxes(corners[kept].astype(np.float32), rows.classes[kept], (height, width), crowd=rows.crowd[kept], areas=told)

    def nothing(self) -> Boxes:
        """Return no boxes, for an image of one pixel."""
        return Boxes(np.empty((0, 4), np.float32), np.empty(0, np.int64), (1, 1))

    def count(self, paths: Sequence[str]) -> np.ndarray:
        """Return the boxes of every class in some images, int64 (C,), without crowds."""
        chosen = [np.arange(*self.places[path]) for path in paths if path in self.places]
        numbers = np.concatenate([np.empty(0, np.int64), *chosen])
        return np.bincount(self.rows.classes[numbers[~self.rows.crowd[numbers]]], minlength=len(self.classes))

    @property
    def without_area(self) -> np.ndarray:
        """The rows of boxes without area, int64 (k,)."""
        return np.flatnonzero(~(areas(self.rows.corners) > 0))

    def place_of(self, row: int) -> str:
        """Return 'labels/a.txt, line 3' for a row."""
        image = next(path for path, (start, end) in self.places.items() if start <= row < end)
        return f"{self.root / self.files.get(image, image)}, {self.unit} {self.rows.lines[row]}"


def joined(found: Iterable[tuple[str, BoxRows]]) -> tuple[dict[str, tuple[int, int]], BoxRows]:
    """Return image -> rows, and the rows of all images, from those of each."""
    places: dict[str, tuple[int, int]] = {}
    parts = [rows_of(())]
    count = 0
    for path, rows in found:
        places[path] = count, count + len(rows.classes)
        count += len(rows.classes)
        parts.append(rows)
    return places, BoxRows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
