"""What --predict takes: files, folders, patterns, lists, videos, cameras."""

from pathlib import Path

import pytest

from dataloader.sources.inputs import find_inputs
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
