"""What --predict takes: files, folders, patterns, lists, videos, cameras."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dataloader.images.read import ImageError
from dataloader.sources.inputs import find_inputs, read_frames
from utils.errors import UserError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the present folder, with some empty files."""
    for name in ("a.jpg", "b c.png", "deep/er/d.JPG", "deep/e.txt.png", "deep/.hidden.png", "film.mp4", "7"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text("a.jpg\n\n  deep/er/d.JPG\nmissing.jpg\n")
    (tmp_path / "table.csv").write_text('label,image\ncat,a.jpg\ndog,"b c.png"\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("names", "images", "videos"),
    [
        (["a.jpg", "b c.png", "a.jpg"], ["a.jpg", "b c.png"], []),
        (["deep"], ["deep/e.txt.png", "deep/er/d.JPG"], []),
        (["*.jpg", "**/*.JPG"], ["a.jpg", "deep/er/d.JPG"], []),
        (["list.txt"], ["a.jpg", "deep/er/d.JPG", "missing.jpg"], []),
        (["table.csv", "film.mp4"], ["a.jpg", "b c.png"], ["film.mp4"]),
        (["0", "7"], ["7"], ["0"]),
    ],
)
def test_names_stand_for_images_and_videos(names, images, videos):
    inputs = find_inputs(names)
    assert list(inputs.images) == images
    assert list(inputs.videos) == videos


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["b.jpg"], "b.jpg: there is no such file or folder"),
        (["*.bmp"], r"\*.bmp: nothing matches"),
        (["deep/er/../../bad.csv"], "first line of a list names its columns"),
        (["empty"], "no images there; folders are searched for"),
    ],
)
def test_names_of_nothing_are_refused(names, message, place):
    (place / "bad.csv").write_text("a.jpg,cat\n")
    (place / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        find_inputs(names)


def test_frames_come_at_the_wanted_rate_and_in_color(tmp_path):
    path = str(tmp_path / "film.avi")
    video = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 16))
    for number in range(20):
        video.write(np.full((16, 32, 3), (0, 0, 10 * number), np.uint8))
    video.release()
    frames = list(read_frames(path, rate=4, limit=None))
    assert [name for name, _ in frames] == [f"{path}#{number / 10:.2f}" for number in (0, 2, 5, 8, 10, 12, 15, 18)]
    for (_, image), number in zip(frames, (0, 2, 5, 8, 10, 12, 15, 18), strict=True):
        assert image.shape == (16, 32, 3)
        np.testing.assert_allclose(image.mean((0, 1)), (10 * number, 0, 0), atol=4)
    assert len(list(read_frames(path, rate=100, limit=None))) == 20
    assert len(list(read_frames(path, rate=100, limit=3))) == 3


def test_what_is_no_video_and_no_camera_is_told(tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(ImageError, match="not a video"):
        list(read_frames(str(tmp_path / "bad.mp4"), rate=1, limit=None))
    with pytest.raises(ImageError, match="camera 99: there is no such camera"):
        list(read_frames("99", rate=1, limit=None))
