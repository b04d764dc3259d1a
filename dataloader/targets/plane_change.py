"""Changes of geometry: one description, which pixels, masks and boxes follow alike.

Coordinates are continuous, (x, y) from the upper left corner of the image: pixel (row i, column j) covers [j, j+1) x [i, i+1).
"""

from dataclasses import dataclass
from functools import cached_property
from math import cos, radians, sin
from typing import Protocol

import cv2
import numpy as np

Size = tuple[int, int]
Row = tuple[float, float, float]
Rows = tuple[Row, Row, Row]

_LAST: Row = (0.0, 0.0, 1.0)
_IDENTITY: Rows = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), _LAST)
# OpenCV counts from the centers of pixels.
_TO_CENTERS = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
_TO_EDGES = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])


class Change(Protocol):
    """A change of geometry: a `PlaneChange`, or a `Field` where lines do not stay straight."""

    @property
    def size(self) -> Size:
        """(H, W) of the image after."""
        ...

    def move_points(self, points: np.ndarray) -> np.ndarray:
        """Return the positions of points (K, 2) of (x, y) after the change, float64 (K, 2)."""
        ...

    def move_ids(self, ids: np.ndarray, fill: int) -> np.ndarray:
        """Return an image of integers (H, W) after the change, by nearest neighbor; `fill` outside."""
        ...

    @property
    def keeps_lines(self) -> bool:
        """Whether straight lines stay straight, so that the corners of a box determine all of it."""
        ...


@dataclass(frozen=True)
class PlaneChange:
    """A projective map of the plane, and the size of the image after it.

    Attributes:
        rows: of the 3x3 matrix that takes (x, y, 1) before to (x, y, 1) after, up to scale.
        size: (H, W) of the image after.
    """

    rows: Rows
    size: Size

    @cached_property
    def matrix(self) -> np.ndarray:
        """The rows as float64 (3, 3)."""
        return np.array(self.rows, dtype=np.float64)

    @property
    def is_axis_aligned(self) -> bool:
        """Whether rows of pixels stay rows and columns stay columns."""
        (_, b, _), (d, _, _), bottom = self.rows
        return b == d == 0 and bottom == _LAST

    @property
    def keeps_lines(self) -> bool:
        return True

    def then(self, other: "PlaneChange") -> "PlaneChange":
        """Return the composition: this change, then another one."""
        return from_matrix(other.matrix @ self.matrix, other.size)

    def undone(self, size: Size) -> "PlaneChange":
        """Return the inverse, onto an image of (H, W) `size`."""
        return from_matrix(np.linalg.inv(self.matrix), size)

    def move_points(self, points: np.ndarray) -> np.ndarray:
        """Return the positions of points (K, 2) of (x, y) after the change, float64 (K, 2)."""
        moved = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ self.matrix.T
        return moved[:, :2] / moved[:, 2:]

    def move_ids(self, ids: np.ndarray, fill: int) -> np.ndarray:
        """Return an image of integers (H, W) after the change, by nearest neighbor.

        Args:
            ids: integers.
            fill: where the image before has no pixel.
        """
        if self.rows == _IDENTITY and ids.shape == self.size:
            return ids
        if self.is_axis_aligned:
            return _gathered(ids, self._sources(1, ids.shape[0]), self._sources(0, ids.shape[1]), fill)
        matrix = _TO_CENTERS @ self.matrix @ _TO_EDGES
        height, width = self.size
        source = ids if ids.dtype in (np.uint8, np.int16, np.uint16) else ids.astype(np.float64)
        moved = cv2.warpPerspective(
            np.ascontiguousarray(source), matrix, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
        )
        return moved.astype(ids.dtype)

    def _sources(self, axis: int, length: int) -> np.ndarray:
        """Return the pixel before for each pixel after, along x (0) or y (1); -1 where there is none."""
        scale, shift = self.rows[axis][axis], self.rows[axis][2]
        centers = np.arange(self.size[1 - axis]) + 0.5
        # A rounding error must not move a center that is halfway between two pixels.
        found = np.floor((centers - shift) / scale + 1e-9).astype(np.int64)
        return np.where((found >= 0) & (found < length), found, -1)


def _gathered(ids: np.ndarray, rows: np.ndarray, columns: np.ndarray, fill: int) -> np.ndarray:
    moved = ids[rows[:, None], columns[None, :]]
    moved[rows < 0] = fill
    moved[:, columns < 0] = fill
    return moved


def from_matrix(matrix: np.ndarray, size: Size) -> PlaneChange:
    """Return the change of a matrix (3, 3)."""
    a, b, c = (tuple(float(value) for value in row) for row in matrix / matrix[2, 2])
    return PlaneChange((a, b, c), size)  # pyright: ignore[reportArgumentType]


def unchanged(size: Size) -> PlaneChange:
    """Return the change that leaves an image of (H, W) `size` as it is."""
    return PlaneChange(_IDENTITY, size)


def mirrored(size: Size) -> PlaneChange:
    """Return the mirroring of left and right."""
    return PlaneChange(((-1.0, 0.0, float(size[1])), (0.0, 1.0, 0.0), _LAST), size)


def flipped(size: Size) -> PlaneChange:
    """Return the mirroring of top and bottom."""
    return PlaneChange(((1.0, 0.0, 0.0), (0.0, -1.0, float(size[0])), _LAST), size)


def turned(size: Size, quarters: int) -> PlaneChange:
    """Return the counterclockwise rotation of an image of (H, W) `size` by a number of quarter turns."""
    height, width = float(size[0]), float(size[1])
    rows: tuple[Rows, ...] = (
        _IDENTITY,
        ((0.0, 1.0, 0.0), (-1.0, 0.0, width), _LAST),
        ((-1.0, 0.0, width), (0.0, -1.0, height), _LAST),
        ((0.0, -1.0, height), (1.0, 0.0, 0.0), _LAST),
    )
    return PlaneChange(rows[quarters % 4], (size[1], size[0]) if quarters % 2 else size)


def cropped(top: float, left: float, size: Size) -> PlaneChange:
    """Return the crop of a rectangle of (H, W) `size`; negative positions pad."""
    return PlaneChange(((1.0, 0.0, -float(left)), (0.0, 1.0, -float(top)), _LAST), size)


def scaled(before: Size, after: Size) -> PlaneChange:
    """Return the resizing from (H, W) `before` to `after`."""
    return resampled(0, 0, before, after)


def resampled(top: float, left: float, part: Size, size: Size) -> PlaneChange:
    """Return the crop of a rectangle of (H, W) `part`, resized to `size`."""
    across, down = size[1] / part[1], size[0] / part[0]
    return along_axes((across, -left * across), (down, -top * down), size)


def along_axes(across: tuple[float, float], down: tuple[float, float], size: Size) -> PlaneChange:
    """Return x * across[0] + across[1] and y * down[0] + down[1], onto an image of (H, W) `size`."""
    return PlaneChange(((across[0], 0.0, across[1]), (0.0, down[0], down[1]), _LAST), size)


def translated(right: float, down: float, size: Size) -> PlaneChange:
    """Return a shift of the image in its frame, in pixels."""
    return cropped(-down, -right, size)


def sheared(across: float, down: float, size: Size) -> PlaneChange:
    """Return x + across * y and y + down * x, one of the two 0, from the upper left corner."""
    return PlaneChange(((1.0, across, 0.0), (down, 1.0, 0.0), _LAST), size)


def rotated(degrees: float, size: Size) -> PlaneChange:
    """Return the counterclockwise rotation around the center, in the same frame."""
    a, b, x, y = cos(radians(degrees)), sin(radians(degrees)), size[1] / 2, size[0] / 2
    return PlaneChange(((a, b, x - a * x - b * y), (-b, a, y + b * x - a * y), _LAST), size)


def from_centers(matrix: np.ndarray, size: Size) -> PlaneChange:
    """Return the change of a matrix of OpenCV, (2, 3) or (3, 3), from before to after, which counts from the centers of pixels."""
    whole = matrix if len(matrix) == 3 else np.vstack([matrix, _LAST])
    return from_matrix(_TO_EDGES @ whole @ _TO_CENTERS, size)
