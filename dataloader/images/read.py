"""Read an image file of any common kind as 8-bit RGB, or as RGB with the fourth channel that the file has.

Pillow decodes, because it notices truncated files. simplejpeg (libjpeg-turbo) decodes color JPEG, to the same pixels in less
time, and smaller where that is wanted; OpenCV reads the few kinds of TIFF that Pillow does not know.
"""

import io
import os
import stat
import warnings
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from dataloader.images.picture import Picture, reduced, whole
from dataloader.images.silence_decoders import silence_decoders
from dataloader.images.sixteen_bit import FULL, UnknownRangeError, deep_values, is_deep, show, to_eight_bits
from utils.errors import UserError

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Orientations after which the columns, or the rows, are in reverse order.
_FROM_RIGHT = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE)
_FROM_BOTTOM = (Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_90, Image.Transpose.TRANSVERSE)
_SIDEWAYS = (Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90)
_JPEG = b"\xff\xd8\xff"
_COLORS = ("YCbCr", "RGB")
# Where Pillow looks for the orientation: EXIF and XMP.
_MAY_BE_TURNED = (b"Exif\0", b"tiff:Orientation")
_NO_FOURTH = "it has no fourth channel, which --channels 4 reads; save it as RGBA"
# Number of the TIFF tag.
_SAMPLES_PER_PIXEL = 277
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class ImageError(UserError):
    """A file that is not a readable image.

    Attributes:
        path: the file.
        reason: why, in a few words.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot read the image {self.path}: {self.reason}"


class UnsupportedError(ImageError):
    """An intact image whose range of values is unknown, so that it cannot be converted to 8 bits, or without the channels asked for."""


def read_image(path: str | os.PathLike[str], *, at_least: int | None = None, white: int | None = None, bands: int = 3) -> np.ndarray:
    """Return the first frame of an image file as uint8 (H, W, bands), RGB.

    The EXIF orientation is applied, transparent pixels are blended with white, 16-bit values are scaled to 8 bits.

    Args:
        path: the file.
        at_least: decode a large JPEG file at the smallest scale, of half or below, that leaves both sides this many pixels.
            This saves time; the pixels are close to those of an exact reduction. None decodes every pixel.
        white: the 16-bit value that becomes 255; None where they span all 16 bits.
        bands: 3, or 4 for the colors as they are, blended with nothing, and behind them the fourth channel of the file: its alpha, or
            what a camera has written there. Of 16 bits it keeps the upper 8, whatever `white` says.

    Raises:
        ImageError: the file is missing, empty, truncated, damaged, suspiciously large (a decompression bomb), not an image, or has no
            fourth channel where one is asked for.
    """
    return read_picture(path, at_least=at_least, white=white, bands=bands).image


def read_picture(path: str | os.PathLike[str], *, at_least: int | None = None, white: int | None = None, bands: int = 3) -> Picture:
    """Return the image of `read_image`, with how its pixels lie on the whole image.

    Raises:
        ImageError: as for `read_image`.
    """
    name = os.fspath(path)
    try:
        file_status(name)
        with open(name, "rb") as file:
            return _read(file, name, at_least or 0, white, bands)
    except OSError as error:
        raise ImageError(name, error.strerror or str(error)) from error


def file_status(name: str) -> os.stat_result:
    """Return the status of an image file; called before it is opened, since opening a pipe would block forever.

    Raises:
        ImageError: it is missing, or not a file.
    """
    try:
        status = os.stat(name)
    except OSError as error:
        raise ImageError(name, error.strerror or str(error)) from error
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(name, "it is not a file but a directory, a pipe or the like")
    return status


def upright_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return (H, W) of an image file, put upright, by its head where that tells.

    Raises:
        ImageError: it cannot be read.
    """
    name = os.fspath(path)
    file_status(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(name) as image:
                width, height = image.size
                return (width, height) if _turn(image) in _SIDEWAYS else (height, width)
    except Exception:  # Formats that Pillow does not know, and damaged files.
        return read_picture(name).size


def read_file(name: str) -> bytes:
    """Return the bytes of an image file, still encoded.

    Raises:
        ImageError: it is missing, not a file, or cannot be read.
    """
    file_status(name)
    try:
        with open(name, "rb") as file:
            return file.read()
    except OSError as error:
        raise ImageError(name, error.strerror or str(error)) from error


def decode_image(data: bytes, name: str, *, at_least: int | None = None, white: int | None = None, bands: int = 3) -> np.ndarray:
    """Return the first frame of an image whose file holds `data`, as `read_image` does; `name` is for messages.

    Raises:
        ImageError: as for `read_image`.
    """
    return decode_picture(data, name, at_least=at_least, white=white, bands=bands).image


def decode_picture(data: bytes, name: str, *, at_least: int | None = None, white: int | None = None, bands: int = 3) -> Picture:
    """Return the image of `decode_image`, with how its pixels lie on the whole image.

    Raises:
        ImageError: as for `read_image`.
    """
    return _read(io.BytesIO(data), name, at_least or 0, white, bands)


def _read(source: IO[bytes], name: str, at_least: int, white: int | None, bands: int) -> Picture:
    silence_decoders()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if source.read(len(_JPEG)) == _JPEG and bands == 3:
                picture = _decode_jpeg(_JPEG + source.read(), at_least)
                if picture is not None:
                    return picture
            source.seek(0)
            with Image.open(source) as image:
                if bands == 4 and _hides_fourth(image):
                    source.seek(0)
                    return whole(_read_tiff(np.frombuffer(source.read(), dtype=np.uint8), name, white, bands))
                scaled = white not in (None, FULL) and is_deep(image)
                image.load()
                turn, convert = _turn(image), _to_rgb if bands == 3 else _to_four
                if scaled and white is not None:
                    source.seek(0)
                    image = show(image, source.read(), white)
                return whole(convert(image, turn))
    except UnidentifiedImageError:
        source.seek(0)
        return whole(_read_tiff(np.frombuffer(source.read(), dtype=np.uint8), name, white, bands))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(name, f"more than {Image.MAX_IMAGE_PIXELS} pixels, taken for a decompression bomb") from error
    except UnknownRangeError as error:
        raise UnsupportedError(name, str(error)) from error
    except Exception as error:  # Decoders raise errors of many types on damaged files; all become ImageError.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageError(name, " ".join(reason.split())) from error


def _decode_jpeg(data: bytes, at_least: int) -> Picture | None:
    """Return the picture of a color JPEG, or None to leave it to Pillow: another color model, too large, or damaged."""
    import simplejpeg

    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data)
        if colors not in _COLORS or int(height) * int(width) > (Image.MAX_IMAGE_PIXELS or 0):
            return None
        # Scale down only by a factor of 2 or more; smaller factors cost more time than they save.
        pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=at_least, min_width=at_least, min_factor=2 if at_least else 1)
    except ValueError:
        return None
    turn = None
    if any(mark in data for mark in _MAY_BE_TURNED):
        with Image.open(io.BytesIO(data)) as image:
            turn = _turn(image)
    if turn is not None:
        pixels = np.array(Image.fromarray(pixels).transpose(turn))
    size = (int(width), int(height)) if turn in _SIDEWAYS else (int(height), int(width))
    return reduced(pixels, size, from_right=turn in _FROM_RIGHT, from_bottom=turn in _FROM_BOTTOM)


def _to_rgb(image: Image.Image, turn: Image.Transpose | None) -> np.ndarray:
    if image.mode.startswith("I"):
        image = Image.fromarray(to_eight_bits(deep_values(image, b""), None))
    elif image.mode == "F":
        raise UnknownRangeError("floating-point pixels, whose range is unknown")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.getchannel("A"))
        image = white
    elif image.mode != "RGB":
        image = image.convert("RGB")
    return np.array(image if turn is None else image.transpose(turn))


def _to_four(image: Image.Image, turn: Image.Transpose | None) -> np.ndarray:
    if image.mode not in ("RGBA", "RGBX"):
        if not image.has_transparency_data:
            raise UnknownRangeError(_NO_FOURTH)
        image = image.convert("RGBA")
    return np.array(image if turn is None else image.transpose(turn))


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # Damaged metadata does not affect the pixels.
        return None


def _hides_fourth(image: Image.Image) -> bool:
    """Whether a file has a fourth channel that is not called alpha, such as infrared, which Pillow leaves out."""
    return image.format == "TIFF" and image.mode == "RGB" and getattr(image, "tag_v2", {}).get(_SAMPLES_PER_PIXEL) == 4


def _read_tiff(data: np.ndarray, name: str, white: int | None, bands: int) -> np.ndarray:
    import cv2

    if len(data) == 0:
        raise ImageError(name, "the file is empty")
    # Only TIFF: what Pillow refuses in other formats is damaged, and OpenCV would invent pixels.
    if data[:4].tobytes() not in _TIFF:
        raise ImageError(name, "not an image, or damaged")
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH if bands == 3 else cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if pixels is None:
        raise ImageError(name, "a damaged TIFF, or one of an unknown kind")
    if bands == 4 and pixels.shape[2:] != (4,):
        raise UnsupportedError(name, _NO_FOURTH)
    if pixels.dtype == np.uint16:
        pixels = np.concatenate([to_eight_bits(pixels[:, :, :3], white), to_eight_bits(pixels[:, :, 3:], None)], axis=2)
    if pixels.dtype != np.uint8:
        raise UnsupportedError(name, f"{pixels.dtype} pixels, whose range is unknown")
    return np.ascontiguousarray(pixels[:, :, [2, 1, 0, 3][:bands]])
