"""What was done to the plane of an image: one description, which pixels, masks and boxes follow alike.

Coordinates are continuous, (x, y) from the upper left corner of the image: pixel (row i, column j) covers [j, j+1) x [i, i+1).
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

Size = tuple[int, int]
Rows = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

_IDENTITY: Rows = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


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
        return b == d == 0 and bottom == _IDENTITY[2]

    def then(self, other: "PlaneChange") -> "PlaneChange":
        """Return this change and then another one, as one."""
        return from_matrix(other.matrix @ self.matrix, other.size)

    def undone(self, size: Size) -> "PlaneChange":
        """Return the way back, onto an image of (H, W) `size` as it was before."""
        return from_matrix(np.linalg.inv(self.matrix), size)

    def move_points(self, points: np.ndarray) -> np.ndarray:
        """Return where points (K, 2) of (x, y) are after the change, float64 (K, 2)."""
        moved = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ self.matrix.T
        return moved[:, :2] / moved[:, 2:]

    def move_ids(self, ids: np.ndarray, fill: int) -> np.ndarray:
        """Return an image of numbers (H, W) after the change, each pixel with the number under its center.

        Args:
            ids: integers.
            fill: where the image before has no pixel.
        """
        if self.is_axis_aligned:
            return _gathered(ids, self._sources(1, ids.shape[0]), self._sources(0, ids.shape[1]), fill)
        # OpenCV counts from the centers of pixels.
        to_centers = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
        matrix = to_centers @ self.matrix @ np.linalg.inv(to_centers)
        height, width = self.size
        source = ids if ids.dtype in (np.uint8, np.int16, np.uint16) else ids.astype(np.float64)
        moved = cv2.warpPerspective(
            np.ascontiguousarray(source), matrix, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
        )
        return moved.astype(ids.dtype)

    def move_pixels(self, image: np.ndarray) -> np.ndarray:
        """Return an image, uint8 (H, W, 3), after the change: bilinear, black where it has no pixel."""
        to_centers = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
        matrix = to_centers @ self.matrix @ np.linalg.inv(to_centers)
        height, width = self.size
        return cv2.warpPerspective(np.ascontiguousarray(image), matrix, (width, height), flags=cv2.INTER_LINEAR)

    def _sources(self, axis: int, length: int) -> np.ndarray:
        """Return which pixel before stands at each pixel after, along x (0) or y (1); -1 where there is none."""
        scale, shift = self.rows[axis][axis], self.rows[axis][2]
        centers = np.arange(self.size[1 - axis]) + 0.5
        # A rounding error must not move a center that lies between two pixels.
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
    return PlaneChange(((-1.0, 0.0, float(size[1])), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), size)


def cropped(top: float, left: float, size: Size) -> PlaneChange:
    """Return the cutting out of a rectangle of (H, W) `size`; negative positions pad."""
    return PlaneChange(((1.0, 0.0, -float(left)), (0.0, 1.0, -float(top)), (0.0, 0.0, 1.0)), size)


def scaled(before: Size, after: Size) -> PlaneChange:
    """Return the resizing from (H, W) `before` to `after`."""
    return PlaneChange(((after[1] / before[1], 0.0, 0.0), (0.0, after[0] / before[0], 0.0), (0.0, 0.0, 1.0)), after)


def affine(matrix: np.ndarray, size: Size) -> PlaneChange:
    """Return the change of an OpenCV matrix (2, 3) from before to after, which counts from the centers of pixels."""
    whole = np.vstack([matrix, [0.0, 0.0, 1.0]])
    to_edges = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return from_matrix(to_edges @ whole @ np.linalg.inv(to_edges), size)
