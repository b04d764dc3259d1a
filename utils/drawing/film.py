"""A video file, written picture by picture."""

from pathlib import Path

import numpy as np

from utils.errors import UserError


class FilmWriter:
    """Writes pictures of one size, uint8 (H, W, 3), as an MPEG-4 video, which has its name when it is closed.

    Args:
        path: of the file, .mp4.
        rate: pictures per second.

    Raises:
        UserError: OpenCV was built without the encoder, in `add`.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path = path
        self.rate = rate
        self._part = path.with_suffix(".part.mp4")
        self._writer = None

    def add(self, picture: np.ndarray) -> None:
        """Write the next picture; of an odd number of rows or columns the encoder leaves out the last one."""
        import cv2

        height, width = (side - side % 2 for side in picture.shape[:2])
        if self._writer is None:
            self._writer = cv2.VideoWriter(str(self._part), cv2.VideoWriter.fourcc(*"mp4v"), self.rate, (width, height))
            if not self._writer.isOpened():
                raise UserError(f"{self.path}: this build of OpenCV writes no MPEG-4; leave --annotate out")
        self._writer.write(np.ascontiguousarray(picture[:height, :width, ::-1]))

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
            self._part.replace(self.path)
