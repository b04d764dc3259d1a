import io
import os

import numpy as np
import pytest
from PIL import Image

from dataloader.images.read import ImageError, decode_image
from dataloader.splits.split import Split
from dataloader.writers.resized import ResizeJob, Resizer, resize_smaller_side, resized_bytes, smaller_side_size, suffix_for
from dataloader.writers.resumable_folder import begin_or_continue, write_note
from utils.errors import UserError


@pytest.mark.parametrize(
    ("size", "result"),
    [((640, 480), (341, 256)), ((480, 640), (256, 341)), ((256, 256), (256, 256)), ((100, 50), (512, 256)), ((3, 2), (384, 256))],
)
def test_the_smaller_side_is_reached_and_the_aspect_kept(size, result):
    assert smaller_side_size(*size, 256) == result


def test_portrait_stays_portrait_and_the_crop_is_the_middle():
    image = np.zeros((60, 20, 3), np.uint8)
    image[20:40] = 200
    assert resize_smaller_side(image, 10, center_crop=False).shape == (30, 10, 3)
    square = resize_smaller_side(image, 10, center_crop=True)
    assert square.shape == (10, 10, 3)
    assert (square == 200).all()


def encoded(image, kind, **more):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **more)
    return file.getvalue()


def test_what_needs_no_change_keeps_its_bytes():
    image = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    data = encoded(image, "JPEG", quality=30)
    assert resized_bytes(data, "a.JPEG", ".jpg", side=16, center_crop=False) == data
    assert resized_bytes(data, "a.jpg", ".jpg", side=8, center_crop=False) != data
    png = encoded(image, "PNG")
    assert np.array_equal(decode_image(resized_bytes(png, "a.bmp", ".png", side=16, center_crop=False), "x"), image)
    assert [suffix_for(f"x/a.{suffix}") for suffix in ("PNG", "gif", "jpeg", "webp")] == [".png", ".png", ".jpg", ".jpg"]


def test_a_thread_of_pixels_is_refused_rather_than_blown_up():
    with pytest.raises(ImageError, match="1x4000 pixels are too narrow"):
        resized_bytes(encoded(np.zeros((4000, 1, 3), np.uint8), "PNG"), "a.png", ".png", side=256, center_crop=False)


def test_a_written_file_is_kept_until_its_image_changes(tmp_path, write_images):
    write_images(tmp_path / "in", {"cat": 1})
    (tmp_path / "out").mkdir()
    split = Split("train", tmp_path / "in", ("cat/000.png",), np.zeros(1, np.int64))
    resizer = Resizer({"train": split}, tmp_path / "out", 5, False)
    first = resizer(ResizeJob("train", 0, "a.png"))
    target = tmp_path / "out" / "a.png"
    assert decode_image(target.read_bytes(), "x").shape == (6, 5, 3)
    assert first.moments.pixels == 30
    stamp = target.stat().st_mtime_ns
    assert resizer(ResizeJob("train", 0, "a.png")) == first
    assert target.stat().st_mtime_ns == stamp
    os.utime(tmp_path / "in/cat/000.png", ns=(stamp + 10**10, stamp + 10**10))
    resizer(ResizeJob("train", 0, "a.png"))
    assert target.stat().st_mtime_ns != stamp
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png"]


def test_a_folder_is_begun_gone_on_with_and_otherwise_left_alone(tmp_path):
    folder = tmp_path / "a" / "b"
    assert not begin_or_continue(folder, "note.json", {"side": (1, 2)})
    assert not begin_or_continue(folder, "note.json", {"side": (1, 2)})
    write_note(folder, "note.json", {"side": (1, 2)}, {"images": 3}, complete=True)
    assert begin_or_continue(folder, "note.json", {"side": (1, 2)})
    with pytest.raises(UserError, match="was begun with another side; name a new folder"):
        begin_or_continue(folder, "note.json", {"side": (1, 3)})
    with pytest.raises(UserError, match="holds something else and is left alone"):
        begin_or_continue(tmp_path / "a", "note.json", {})
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="not a directory"):
        begin_or_continue(tmp_path / "file", "note.json", {})
