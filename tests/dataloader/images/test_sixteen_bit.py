"""16 bits per channel: every kind of file is scaled to the same white, by the reader and by the demo."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dataloader.cache.decoded import CachePolicy, cache_name, pooled
from dataloader.cache.fill import fill
from dataloader.images.read import ImageError, decode_image, read_image
from dataloader.images.sixteen_bit import brightest, to_eight_bits
from dataloader.splits.catalog import Catalog
from dataloader.splits.split import Split
from dataloader.splits.white_value import SAMPLE, find_white, mismatch, white_of, with_white
from demos.classifier import read_image as read_in_demo
from demos.classifier import read_with_opencv

WHITE = 4095
GRAY = np.random.default_rng(0).integers(0, WHITE + 1, (6, 5), dtype=np.uint16)
COLOR = np.random.default_rng(1).integers(0, WHITE + 1, (6, 5, 3), dtype=np.uint16)
KINDS = ["gray.png", "gray.tif", "gray_lzw.tif", "color.png", "color.tif", "color_lzw.tif", "wide.tif"]


def write(path: Path, *, gray: np.ndarray = GRAY, color: np.ndarray = COLOR) -> np.ndarray:
    """Write a file of 16 bits per channel; return its values, uint16 (H, W, 3)."""
    values = np.repeat(gray[:, :, None], 3, 2) if path.name.startswith(("gray", "wide")) else color
    if path.name.startswith("wide"):
        Image.fromarray(gray.astype(np.int32)).save(path)
        return values
    options = [cv2.IMWRITE_TIFF_COMPRESSION, 5 if "lzw" in path.name else 1] if path.suffix == ".tif" else []
    cv2.imwrite(str(path), gray if path.name.startswith("gray") else color[:, :, ::-1], options)
    return values


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("white", [255, 1023, WHITE, 32767])
def test_values_are_scaled_to_white_whatever_the_file(tmp_path, kind, white):
    values = write(tmp_path / kind)
    expected = np.rint(np.minimum(values, white).astype(np.float64) * 255 / white).astype(np.uint8)
    assert np.array_equal(read_image(tmp_path / kind, white=white), expected)
    assert np.array_equal(decode_image((tmp_path / kind).read_bytes(), "it", white=white), expected)
    assert np.array_equal(read_in_demo(str(tmp_path / kind), white=white), expected)
    assert np.array_equal(read_in_demo(str(tmp_path / kind), white=None), read_image(tmp_path / kind))
    if kind != "wide.tif":
        assert np.array_equal(read_with_opencv(str(tmp_path / kind), white=white), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_is_known_or_all_bits_are_used_pixels_are_as_ever(tmp_path, kind):
    write(tmp_path / kind)
    with Image.open(tmp_path / kind) as image:
        gray = image.mode.startswith("I")
        expected = np.asarray(Image.fromarray((np.asarray(image).astype(np.int64) // 257).astype(np.uint8)) if gray else image)
    expected = np.repeat(expected[:, :, None], 3, 2) if gray else expected
    for white in (None, 65535):
        assert np.array_equal(read_image(tmp_path / kind, white=white), expected)


def test_twelve_bits_keep_their_gray_levels(tmp_path):
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    for name in ("gray.png", "color.png"):
        write(tmp_path / name, gray=ramp, color=np.stack([ramp] * 3, 2))
        assert len(np.unique(read_image(tmp_path / name))) == 16
        assert len(np.unique(read_image(tmp_path / name, white=WHITE))) == 256


def test_white_is_no_matter_of_images_of_eight_bits(tmp_path):
    Image.fromarray(GRAY.astype(np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(COLOR.astype(np.uint8)).save(tmp_path / "a.jpg")
    for name in ("a.png", "a.jpg"):
        assert np.array_equal(read_image(tmp_path / name, white=WHITE), read_image(tmp_path / name))
        assert brightest((tmp_path / name).read_bytes()) == -1


def test_transparent_pixels_are_white_and_orientation_is_undone(tmp_path):
    alpha = np.full((6, 5, 1), 65535, np.uint16)
    alpha[0] = 0
    cv2.imwrite(str(tmp_path / "a.png"), np.concatenate([COLOR[:, :, ::-1], alpha], 2))
    pixels = read_image(tmp_path / "a.png", white=WHITE)
    assert (pixels[0] == 255).all()
    assert np.array_equal(pixels[1:], to_eight_bits(COLOR[1:], WHITE))
    assert np.array_equal(read_in_demo(str(tmp_path / "a.png"), white=WHITE), pixels)
    # EXIF says: turned by a quarter.
    write(tmp_path / "color.png")
    data, exif = (tmp_path / "color.png").read_bytes(), Image.Exif()
    exif[274] = 6
    chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    turned = data[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    assert np.array_equal(decode_image(turned, "it", white=WHITE), np.rot90(to_eight_bits(COLOR, WHITE), -1))


def test_a_damaged_deep_file_is_an_error_and_no_invention(tmp_path):
    for kind in ("gray.png", "color.png", "color_lzw.tif"):
        big = np.random.default_rng(0).integers(0, 4096, (64, 64, 3), dtype=np.uint16)
        write(tmp_path / kind, gray=big[:, :, 0], color=big)
        data = (tmp_path / kind).read_bytes()
        with pytest.raises(ImageError):
            decode_image(data[: len(data) // 2], "half", white=WHITE)
        assert brightest(data) == big[:, :, 0].max() if kind == "gray.png" else big.max()


def split_of(folder: Path, names: list[str], *, name: str = "train") -> Split:
    return Split(name, folder, tuple(names), np.zeros(len(names), np.int64))


def catalog_of(*splits: Split) -> Catalog:
    return Catalog(splits[0].root, ("one",), {split.name: split for split in splits})


@pytest.mark.parametrize("workers", [0, 1])
def test_the_range_is_that_of_all_files_of_the_data_set(tmp_path, workers):
    dark = np.full((6, 5), 700, np.uint16)
    write(tmp_path / "gray.png", gray=dark)
    write(tmp_path / "color.tif")
    Image.new("RGB", (5, 6)).save(tmp_path / "plain.png")
    Image.new("RGB", (5, 6)).save(tmp_path / "photo.jpg")
    (tmp_path / "broken.tif").write_bytes((tmp_path / "color.tif").read_bytes()[:60])
    few = catalog_of(split_of(tmp_path, ["plain.png", "photo.jpg", "gone.png", "broken.tif"]))
    assert find_white(few, workers=workers)[:2] == (None, -1)
    some = catalog_of(split_of(tmp_path, ["plain.png", "gray.png"]))
    assert find_white(some, workers=workers)[:2] == (1023, 700)
    # Of which image it is, and in which split, plays no part.
    more = catalog_of(split_of(tmp_path, ["gray.png"]), split_of(tmp_path, ["color.tif"], name="test"))
    assert find_white(more, workers=workers)[:2] == (WHITE, int(COLOR.max()))
    write(tmp_path / "color_full.png", color=COLOR * 16)
    whole = catalog_of(split_of(tmp_path, ["color_full.png", "gray.png"]))
    assert find_white(whole, workers=workers)[:2] == (65535, int(COLOR.max()) * 16)
    assert {each.white for each in with_white(more, WHITE).splits.values()} == {WHITE}


@pytest.mark.parametrize(
    ("usual", "stray", "stretched"), [(WHITE, 65535, True), (8191, 65535, False), (900, 16383, True), (900, 8191, False)]
)
def test_one_bright_file_is_named_where_it_darkens_the_others(tmp_path, usual, stray, stretched):
    for number in range(7):
        write(tmp_path / f"gray{number}.png", gray=np.full((6, 5), stray if number == 4 else usual, np.uint16))
    found = find_white(catalog_of(split_of(tmp_path, [f"gray{number}.png" for number in range(7)])), workers=0)
    assert (found.largest, found.brightest) == (stray, str(tmp_path / "gray4.png"))
    assert found.usual == white_of(usual)
    assert found.is_stretched() == stretched


def test_files_of_16_bits_end_the_search_but_do_not_hide_that_they_are_few(tmp_path):
    write(tmp_path / "gray_full.png", gray=np.full((6, 5), 65535, np.uint16))
    write(tmp_path / "gray.png")
    told = []
    names = ["gray_full.png"] * 10 + ["gray.png"] * 190
    found = find_white(catalog_of(split_of(tmp_path, names)), workers=0, advance=told.append)
    assert found.is_stretched()
    assert SAMPLE <= len(told) < 80
    assert not find_white(catalog_of(split_of(tmp_path, ["gray_full.png"] * 190 + ["gray.png"] * 10)), workers=0).is_stretched()


@pytest.mark.parametrize(("largest", "white"), [(0, 255), (255, 255), (256, 511), (1023, 1023), (4000, 4095), (4096, 8191), (65535, 65535)])
def test_white_is_the_largest_value_of_as_many_bits(largest, white):
    assert white_of(largest) == white


def test_a_cache_belongs_to_the_white_of_its_pixels(tmp_path):
    write(tmp_path / "gray.png")
    split = split_of(tmp_path, ["gray.png"])
    keep = CachePolicy(shorter=64)
    light = with_white(catalog_of(split), WHITE).splits["train"]
    assert cache_name(split, keep) != cache_name(light, keep)
    assert pooled(Split("train", tmp_path, split.paths, split.targets, pool=split.paths, white=WHITE)).white == WHITE
    place = tmp_path / "pixels"
    place.touch()
    fill(lambda index: keep.read_picture(light, index), 1, str(place), workers=0, advance=int, name=light.file)
    assert np.array_equal(np.fromfile(place, np.uint8), to_eight_bits(np.repeat(GRAY[:, :, None], 3, 2), WHITE).ravel())


def test_a_model_says_when_it_meets_another_range(tmp_path):
    write(tmp_path / "gray.png")
    split = split_of(tmp_path, ["gray.png"])
    assert "nearly black" in mismatch(split)
    assert mismatch(with_white(catalog_of(split), WHITE).splits["train"]) == ""
    assert "1,023 is white" in mismatch(with_white(catalog_of(split), 1023).splits["train"])
    Image.new("L", (5, 6)).save(tmp_path / "a.png")
    assert mismatch(split_of(tmp_path, ["a.png"])) == ""
    assert mismatch(split_of(tmp_path, [])) == ""


def test_pillow_and_the_values_agree_for_a_file_in_memory():
    file = io.BytesIO()
    Image.fromarray(GRAY).save(file, "PNG")
    assert brightest(file.getvalue()) == int(GRAY.max())
