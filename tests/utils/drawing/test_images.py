"""Thumbnails, sheets and images inside pages."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from utils.drawing.images import data_uri, enlarged, overlay, sheet, thumbnail, write_png


def blue(height: int, width: int) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 2] = 200
    return image


def test_a_thumbnail_keeps_the_aspect_and_never_grows() -> None:
    assert thumbnail(blue(100, 200), 50).shape == (25, 50, 3)
    assert thumbnail(blue(10, 20), 50).shape == (10, 20, 3)


def test_a_tiny_image_is_enlarged_pixel_by_pixel() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    large = enlarged(image, 9)
    assert large.shape == (8, 8, 3)
    np.testing.assert_array_equal(large[::4, ::4], image)


def test_a_data_address_holds_the_picture() -> None:
    head, _, body = data_uri(blue(8, 12)).partition(",")
    assert head == "data:image/jpeg;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(body)))
    assert picture.size == (12, 8)
    assert np.abs(np.asarray(picture).astype(int) - blue(8, 12)).max() < 6


def test_a_sheet_shows_every_image_in_its_cell() -> None:
    page = sheet([blue(40, 40)] * 5, ["a", "b", "c", "d", "e\nsecond line"], columns=3, side=40)
    cells = (page == (0, 0, 200)).all(-1)
    assert cells.sum() == 5 * 40 * 40
    assert page.shape[1] == 3 * 50 + 10


def test_captions_grow_with_their_cells() -> None:
    small, large = (sheet([blue(side, side)], ["text"], columns=1, side=side) for side in (100, 240))
    heights = [len(page) - side for page, side in ((small, 100), (large, 240))]
    assert heights[1] > heights[0] == 41


@pytest.mark.parametrize("caption", ["a very long caption that no cell of this width can hold", "odd \udcff name"])
def test_a_caption_stays_in_its_column(caption: str) -> None:
    page = sheet([blue(40, 40)] * 2, [caption, ""], columns=2, side=40)
    right = page[:, 52:]
    assert (right[54:] == 255).all(), "the caption runs into the next column"


def test_a_picture_is_written_whole(tmp_path: Path) -> None:
    write_png(blue(3, 4), tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), blue(3, 4))
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_heat_colors_warm_places_and_leaves_cold_ones():
    image = np.full((40, 60, 3), 100, np.uint8)
    heat = np.zeros((4, 6), np.float32)
    heat[1, 4] = 1
    found = overlay(image, heat)
    assert found.shape == image.shape
    assert found.dtype == np.uint8
    red, green, blue = found[15, 45].astype(int)
    assert red > green + 50 > blue
    np.testing.assert_array_equal(found[:, :15], image[:, :15])
