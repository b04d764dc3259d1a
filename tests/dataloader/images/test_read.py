import multiprocessing
import os
import pickle
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dataloader.images.preprocess import fit_pixels
from dataloader.images.read import ImageError, read_image
from demos.classifier import read_image as read_by_the_demo
from utils.errors import UserError

PICTURE = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
DEEP = np.random.default_rng(1).integers(0, 65536, (6, 5, 3), dtype=np.uint16)


def saved(path: Path, mode: str = "RGB", **options: object) -> np.ndarray:
    Image.fromarray(PICTURE).convert(mode).save(path, **options)  # pyright: ignore[reportArgumentType]
    return read_image(path)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff", "webp", "PNG"])
def test_lossless_files_give_their_pixels(tmp_path, suffix):
    image = saved(tmp_path / f"a b ü.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(image, PICTURE)
    assert image.flags.writeable
    assert image.flags.c_contiguous


def test_jpeg_is_decoded_as_opencv_decodes_it(tmp_path):
    smooth = cv2.resize(PICTURE, (64, 48))
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    expected = cv2.cvtColor(cv2.imread(str(tmp_path / "a.jpg")), cv2.COLOR_BGR2RGB)
    assert np.array_equal(read_image(tmp_path / "a.jpg"), expected)


def photo(width: int, height: int) -> Image.Image:
    """Return smooth colors under fine grain."""
    rng = np.random.default_rng(3)
    smooth = Image.fromarray(rng.integers(0, 256, (8, 6, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 8, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8))


JPEG_KINDS = [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}, {"keep_rgb": True}, {"quality": 5}]


@pytest.mark.parametrize("options", JPEG_KINDS, ids=str)
def test_every_kind_of_jpeg_is_decoded_as_pillow_decodes_it(tmp_path, options):
    photo(77, 51).save(tmp_path / "a.jpg", **options)
    with Image.open(tmp_path / "a.jpg") as image:
        expected = np.array(image.convert("RGB"))
    assert np.array_equal(read_image(tmp_path / "a.jpg"), expected)


@pytest.mark.parametrize(("size", "at_least", "scaled"), [((800, 600), 150, (200, 150)), ((601, 800), 150, (151, 200))])
def test_a_large_jpeg_is_decoded_at_the_scale_that_leaves_enough(tmp_path, size, at_least, scaled):
    photo(*size).save(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg", at_least=at_least).shape == (scaled[1], scaled[0], 3)
    assert read_image(tmp_path / "a.jpg", at_least=302).shape == (size[1], size[0], 3)
    assert read_image(tmp_path / "a.jpg").shape == (size[1], size[0], 3)
    photo(*size).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", at_least=at_least).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("options", JPEG_KINDS[:4], ids=str)
@pytest.mark.parametrize("mode", ["fit", "crop", "stretch"])
def test_a_lower_scale_gives_nearly_the_pixels_of_an_exact_reduction(tmp_path, options, mode):
    photo(500, 375).save(tmp_path / "a.jpg", **options)
    exact, scaled = (fit_pixels(read_image(tmp_path / "a.jpg", at_least=at_least), 64, 64, mode) for at_least in (None, 128))
    difference = np.abs(exact.astype(int) - scaled)
    assert difference.mean() < 1.25
    assert np.quantile(difference, 0.99) <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("xmp", [False, True])
def test_a_turned_jpeg_is_put_upright_as_pillow_does(tmp_path, orientation, xmp):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
    photo(40, 24).save(tmp_path / "a.jpg", **({"xmp": packet} if xmp else {"exif": exif}))
    with Image.open(tmp_path / "a.jpg") as image:
        expected = np.array(ImageOps.exif_transpose(image))
    assert np.array_equal(read_image(tmp_path / "a.jpg"), expected)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
def test_other_color_models_become_rgb(tmp_path, mode):
    image = saved(tmp_path / "a.tif", mode)
    assert np.array_equal(image, np.asarray(Image.fromarray(PICTURE).convert(mode).convert("RGB")))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_jpeg_color_models_become_rgb(tmp_path, mode):
    flat = Image.new("RGB", (16, 16), (200, 40, 90)).convert(mode)
    flat.save(tmp_path / "a.jpg", quality=100)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - (200, 40, 90)).max() <= 4


def test_transparent_pixels_are_laid_on_white(tmp_path):
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 255, 128]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = [[10, 20, 30], [255, 255, 255], [127, 177, 255]]
    assert np.abs(read_image(tmp_path / "a.png")[0].astype(int) - expected).max() <= 1
    Image.fromarray(np.array([[[50, 255], [50, 0]]], dtype=np.uint8)).save(tmp_path / "gray.png")
    assert read_image(tmp_path / "gray.png")[0].tolist() == [[50] * 3, [255] * 3]


def test_palette_transparency_is_laid_on_white_without_a_warning(tmp_path):
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="P")
    palette.putpalette([9, 8, 7, 6, 5, 4])
    palette.save(tmp_path / "a.png", transparency=bytes([255, 0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.png")[0].tolist() == [[9, 8, 7], [255, 255, 255]]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_gray_keeps_the_high_byte(tmp_path, suffix):
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), DEEP[..., 0])
    assert np.array_equal(read_image(tmp_path / f"a.{suffix}"), np.repeat(DEEP[..., :1] // 257, 3, axis=2))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_rgb_keeps_the_high_byte(tmp_path, suffix):
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), DEEP[..., ::-1])
    assert np.abs(read_image(tmp_path / f"a.{suffix}").astype(int) - DEEP // 257).max() <= 1


def test_first_frame_of_an_animation_is_read(tmp_path):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    for name in ("a.gif", "a.webp", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **({"lossless": True} if name == "a.webp" else {}))
        assert read_image(tmp_path / name)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_every_exif_orientation_is_undone(tmp_path, orientation, suffix):
    # How a camera held in each of the eight ways stores the upright picture.
    stored = [
        PICTURE,
        PICTURE[:, ::-1],
        PICTURE[::-1, ::-1],
        PICTURE[::-1],
        PICTURE.transpose(1, 0, 2),
        np.rot90(PICTURE),
        np.rot90(PICTURE, 2).transpose(1, 0, 2),
        np.rot90(PICTURE, -1),
    ][orientation - 1]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"a.{suffix}", exif=exif)
    assert np.array_equal(read_image(tmp_path / f"a.{suffix}"), PICTURE)


def test_damaged_exif_does_not_spoil_the_pixels(tmp_path):
    assert np.array_equal(saved(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"), PICTURE)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp"])
def test_a_truncated_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert caught.value.path == str(path)
    assert caught.value.reason
    assert "\n" not in str(caught.value)


def test_a_truncated_deep_tiff_is_refused_in_silence(tmp_path, capfd):
    path = tmp_path / "a.tif"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 65536, (90, 90, 3), dtype=np.uint16))
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ImageError):
        read_image(path)
    assert capfd.readouterr().err == ""


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 12000, 12000, 8, 2, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b""))
    with pytest.raises(ImageError, match="taken for a decompression bomb"):
        read_image(tmp_path / "a.png")


def test_a_jpeg_that_claims_too_many_pixels_is_refused(tmp_path):
    photo(16, 16).save(tmp_path / "a.jpg")
    data = bytearray((tmp_path / "a.jpg").read_bytes())
    size = data.index(b"\xff\xc0") + 5
    data[size : size + 4] = struct.pack(">HH", 30000, 30000)
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(ImageError, match="taken for a decompression bomb"):
        read_image(tmp_path / "a.jpg", at_least=100)


def test_what_is_no_image_is_refused_with_its_reason(tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("hello")
    Image.fromarray(PICTURE[..., 0].astype(np.float32)).save(tmp_path / "float.tif")
    reasons = {"empty.jpg": "the file is empty", "text.jpg": "not an image", "gone.jpg": "No such file", "float.tif": "floating-point"}
    for name, reason in reasons.items():
        with pytest.raises(ImageError, match=reason):
            read_image(tmp_path / name)
    with pytest.raises(ImageError, match="directory"):
        read_image(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path):
    saved(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(ImageError, match="ermission"):
        read_image(tmp_path / "a.png")


def test_random_damage_never_raises_anything_else(tmp_path):
    rng = np.random.default_rng(0)
    for suffix in ("jpg", "png", "tif", "webp", "bmp", "gif"):
        saved(tmp_path / f"a.{suffix}")
        whole = (tmp_path / f"a.{suffix}").read_bytes()
        for _ in range(25):
            damaged = bytearray(whole)
            for place in rng.integers(0, len(whole), 6):
                damaged[place] = rng.integers(256)
            (tmp_path / "b").write_bytes(damaged)
            try:
                assert read_image(tmp_path / "b").dtype == np.uint8
            except ImageError:
                continue


def test_an_image_error_is_a_user_error_that_survives_a_process_border():
    error = pickle.loads(pickle.dumps(ImageError("a.png", "empty")))
    assert isinstance(error, UserError)
    assert (error.path, error.reason, str(error)) == ("a.png", "empty", "cannot read the image a.png: empty")


def test_a_pipe_and_a_folder_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for name in ("pipe.jpg", "folder.jpg"):
        with pytest.raises(ImageError, match="not a file but"):
            read_image(tmp_path / name)


def damaged_tiffs(folder: Path) -> list[Path]:
    """Write TIFF files that make libtiff complain, and Pillow's logger."""
    files = []
    for kind in ("tiff_adobe_deflate", "jpeg", "tiff_lzw"):
        photo(50, 40).save(folder / f"{kind}.tif", compression=kind)
        whole = (folder / f"{kind}.tif").read_bytes()
        for number, start in enumerate(range(10, 400, 30)):
            files.append(folder / f"{kind}{number}.tif")
            files[-1].write_bytes(whole[:start] + bytes((255 - byte) for byte in whole[start : start + 8]) + whole[start + 8 :])
    return files


def read_all(files: list[Path]) -> int:
    """Return how many of the files cannot be read."""
    errors = 0
    for file in files:
        try:
            read_image(file)
        except ImageError:
            errors += 1
    return errors


def test_decoders_write_nothing_to_the_terminal_and_python_still_may(tmp_path, capfd):
    assert read_all(damaged_tiffs(tmp_path)) >= 10
    os.write(2, b"a traceback\n")
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "a traceback\n")


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_decoders_write_nothing_from_other_processes(tmp_path, capfd, how):
    files = damaged_tiffs(tmp_path)
    # Spawned processes know nothing of what this one told its libraries.
    with multiprocessing.get_context(how).Pool(1) as pool:
        assert pool.apply(read_all, (files,)) >= 10
    assert capfd.readouterr() == ("", "")


def four(path: Path) -> np.ndarray:
    fourth = np.arange(30, dtype=np.uint8).reshape(6, 5, 1) * 8
    pixels = np.concatenate([PICTURE, fourth], axis=2)
    Image.fromarray(pixels, "RGBA").save(path)
    return pixels


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_fourth_channel_comes_as_it_is_and_blends_with_nothing(tmp_path, suffix):
    pixels = four(tmp_path / f"a.{suffix}")
    found = read_image(tmp_path / f"a.{suffix}", bands=4)
    assert np.array_equal(found, pixels)
    assert found.flags.writeable
    assert not np.array_equal(read_image(tmp_path / f"a.{suffix}"), PICTURE), "three channels are blended with white"


def test_a_camera_s_fourth_channel_that_is_not_called_alpha_is_read(tmp_path):
    pixels = four(tmp_path / "a.tif")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with Image.open(tmp_path / "a.tif") as image:
        assert tuple(image.tag_v2[338]) == (2,)  # pyright: ignore[reportAttributeAccessIssue]
    # Tag 338 says what the fourth channel is: 2 is alpha, 0 is not told.
    entry = data.index(struct.pack("<HHI", 338, 3, 1))
    data[entry + 8 : entry + 10] = struct.pack("<H", 0)
    (tmp_path / "b.tif").write_bytes(bytes(data))
    assert np.array_equal(read_image(tmp_path / "b.tif", bands=4), pixels)
    assert np.array_equal(read_image(tmp_path / "b.tif"), PICTURE)
    assert np.array_equal(read_by_the_demo(str(tmp_path / "b.tif"), bands=4), pixels)


def test_a_file_of_three_channels_has_no_fourth(tmp_path):
    for name in ("a.jpg", "a.png"):
        photo(16, 12).save(tmp_path / name)
        with pytest.raises(ImageError, match="no fourth channel"):
            read_image(tmp_path / name, bands=4)


def test_a_fourth_channel_is_turned_with_the_colors(tmp_path):
    pixels = four(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels, "RGBA").save(tmp_path / "b.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "b.png", bands=4), np.rot90(pixels, -1))
