"""A change of geometry that bends lines: for every pixel after it, the position before."""

from dataclasses import dataclass

import cv2
import numpy as np

from dataloader.targets.plane_change import Size

# Most iterations of the search for a point after the change; smooth fields need few.
_STEPS = 30


@dataclass(frozen=True, eq=False)
class Field:
    """A displacement of every pixel.

    Attributes:
        across, down: float32 (H, W), the x and the y before of each pixel after, counted from the centers of pixels, as OpenCV's remap
            takes them.
    """

    across: np.ndarray
    down: np.ndarray

    @property
    def size(self) -> Size:
        """(H, W) of the image after."""
        return self.across.shape[0], self.across.shape[1]

    @property
    def keeps_lines(self) -> bool:
        return False

    def move_points(self, points: np.ndarray) -> np.ndarray:
        """Return the positions of points (K, 2) of (x, y) after the change, float64 (K, 2); outside, the border's displacement is used.

        The position is found by fixed-point iteration: p = point - displacement(p).
        """
        height, width = self.size
        columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        displacement = np.dstack([self.across - columns, self.down - rows])
        before = points - 0.5
        after = before.copy()
        for _ in range(_STEPS if len(points) else 0):
            places = after.astype(np.float32)[:, None]
            shift = cv2.remap(displacement, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # pyright: ignore[reportCallIssue, reportArgumentType]
            after = before - shift[:, 0]
        return after + 0.5

    def move_ids(self, ids: np.ndarray, fill: int) -> np.ndarray:
        """Return an image of integers (H, W) after the change, by nearest neighbor; `fill` outside."""
        rows, columns = np.rint(self.down).astype(np.int64), np.rint(self.across).astype(np.int64)
        inside = (rows >= 0) & (rows < ids.shape[0]) & (columns >= 0) & (columns < ids.shape[1])
        moved = np.full(self.size, fill, dtype=ids.dtype)
        moved[inside] = ids[rows[inside], columns[inside]]
        return moved
