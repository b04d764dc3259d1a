"""The frames of a video file or of a camera, at the rate that is wanted."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dataloader.images.read import ImageError

# Default limit of frames of a camera, which never ends.
CAMERA_FRAMES = 10
# Frames per second of cameras, and of videos that do not say.
USUAL_RATE = 30.0
# Containers often name a few frames more than they hold; one that holds less than this share is damaged.
LEAST_SHARE = 0.95


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture of a video or of a camera.

    Attributes:
        source: path of the video, or 'camera N'.
        number: of all frames of the source, from 0.
        seconds: since the first frame.
        rate: frames that are taken of a second.
        image: uint8 (H, W, 3), RGB.
    """

    source: str
    number: int
    seconds: float
    rate: float
    image: np.ndarray

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.source}#{self.seconds:.2f}"


def read_frames(source: str, *, rate: float, limit: int | None) -> Iterator[Frame]:
    """Yield the frames of a video or a camera.

    Args:
        source: a video file, or the number of a camera.
        rate: frames per second to take; never more than there are.
        limit: most frames to take; None takes all of a video and a few of a camera.

    Raises:
        ImageError: it cannot be opened, has no frames, or ends long before the end that it names.
    """
    import cv2

    is_camera = source.isdecimal() and not os.path.exists(source)
    name = f"camera {source}" if is_camera else source
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    # FFmpeg writes to the terminal directly; this program reports errors in one line.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    capture = cv2.VideoCapture(int(source) if is_camera else source)
    try:
        if not capture.isOpened():
            raise ImageError(name, "there is no such camera" if is_camera else "not a video, or of an unknown kind")
        # A camera's own clock is unknown; its frames are counted.
        own_rate = capture.get(cv2.CAP_PROP_FPS)
        own_rate = own_rate if own_rate > 0 and math.isfinite(own_rate) else USUAL_RATE
        step = max(1.0, own_rate / rate)
        wanted = limit if limit is not None or not is_camera else CAMERA_FRAMES
        number = taken = 0
        while wanted is None or taken < wanted:
            if not capture.grab():
                break
            if number >= round(taken * step):
                done, pixels = capture.retrieve()
                if not done:
                    break
                yield Frame(name, number, number / own_rate, own_rate / step, np.ascontiguousarray(pixels[:, :, ::-1]))
                taken += 1
            number += 1
        if not taken:
            raise ImageError(name, "no frame could be read")
        named = 0 if is_camera else capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if (wanted is None or taken < wanted) and number < LEAST_SHARE * named:
            raise ImageError(name, f"damaged: it ends after {number:,} of the {int(named):,} frames that it names")
    finally:
        capture.release()
        cv2.utils.logging.setLogLevel(level)
