"""Frames of videos and cameras: rate, color, numbers, and sources that are damaged or absent."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dataloader.images.read import ImageError
from dataloader.sources.frames import read_frames


def write_film(path: Path, count: int, rate: float = 10) -> str:
    """Write frames that grow redder, by 10 of 255 each; return the path."""
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (32, 16))
    for number in range(count):
        video.write(np.full((16, 32, 3), (0, 0, 10 * number), np.uint8))
    video.release()
    return str(path)


def test_frames_come_at_the_wanted_rate_and_in_color(tmp_path: Path) -> None:
    path, numbers = write_film(tmp_path / "film.avi", 20), [0, 2, 5, 8, 10, 12, 15, 18]
    frames = list(read_frames(path, rate=4, limit=None))
    assert [frame.name for frame in frames] == [f"{path}#{number / 10:.2f}" for number in numbers]
    assert [frame.number for frame in frames] == numbers
    assert {frame.rate for frame in frames} == {4.0}
    for frame, number in zip(frames, numbers, strict=True):
        assert frame.image.shape == (16, 32, 3)
        np.testing.assert_allclose(frame.image.mean((0, 1)), (10 * number, 0, 0), atol=4)
    everything = list(read_frames(path, rate=100, limit=None))
    assert len(everything) == 20
    assert everything[0].rate == 10
    assert len(list(read_frames(path, rate=100, limit=3))) == 3


def test_what_is_no_video_and_no_camera_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(ImageError, match="not a video"):
        list(read_frames(str(tmp_path / "bad.mp4"), rate=1, limit=None))
    with pytest.raises(ImageError, match="camera 99: there is no such camera"):
        list(read_frames("99", rate=1, limit=None))
    (tmp_path / "empty.avi").touch()
    with pytest.raises(ImageError, match="not a video"):
        list(read_frames(str(tmp_path / "empty.avi"), rate=1, limit=None))
    with pytest.raises(ImageError, match=r"no frame could be read|not a video"):
        list(read_frames(write_film(tmp_path / "none.avi", 0), rate=1, limit=None))


class Cut:
    """A capture of 100 frames that breaks off after 12, and a camera that never ends."""

    def __init__(self, source: object) -> None:
        self.left = 12 if isinstance(source, str) else 1_000

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def get(self, wanted: int) -> float:
        return {cv2.CAP_PROP_FPS: float("nan"), cv2.CAP_PROP_FRAME_COUNT: 100.0}[wanted]

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((4, 6, 3), np.uint8)

    def release(self) -> None:
        pass


def test_a_video_that_breaks_off_gives_its_frames_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Cut)
    frames = read_frames("film.mp4", rate=10, limit=None)
    assert [next(frames).number for _ in range(4)] == [0, 3, 6, 9]
    with pytest.raises(ImageError, match="damaged: it ends after 12 of the 100 frames that it names"):
        next(frames)
    assert len(list(read_frames("film.mp4", rate=30, limit=12))) == 12


def test_a_camera_gives_ten_frames_unless_more_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Cut)
    assert [frame.name for frame in read_frames("0", rate=30, limit=None)] == [f"camera 0#{number / 30:.2f}" for number in range(10)]
    assert len(list(read_frames("0", rate=30, limit=25))) == 25
