"""Images of 16 bits per channel: their values, and how they become 8 bits.

A camera of 12 bits writes files of 16 whose values end at 4095. The white value of such files is a property of the data set:
`dataloader/splits/white_value.py` finds it, and `Preprocess` stores it.
"""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from dataloader.images.silence_decoders import silence_decoders

FULL = 65535
# 65535 / 255.
SIXTEEN_TO_EIGHT = 257
_PNG = b"\x89PNG\r\n\x1a\n"
# Where a PNG says how many bits per channel has.
_PNG_DEPTH = 24
# First bytes of formats that have 8 bits.
_SHALLOW = (b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF")
HEAD = _PNG_DEPTH + 1


class UnknownRangeError(ValueError):
    """Pixels whose range is unknown."""


def may_be_deep(head: bytes) -> bool:
    """Whether a file that begins with these bytes, HEAD of them, may have 16 bits per channel."""
    if head.startswith(_PNG):
        return head[_PNG_DEPTH:HEAD] == b"\x10"
    return not head.startswith(_SHALLOW)


def is_deep(image: Image.Image) -> bool:
    """Whether an image of Pillow that is opened, but not loaded yet, has 16 bits per channel."""
    # Pillow returns color in 8 bits; only its decoder arguments tell that the file has more.
    return image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def deep_values(image: Image.Image, data: bytes) -> np.ndarray:
    """Return the values of a deep image without its alpha channel, uint16 (H, W) or (H, W, 3), RGB.

    Args:
        image: as Pillow has loaded it.
        data: the file.

    Raises:
        UnknownRangeError: values that do not fit into 16 bits, or an unsupported kind of color.
    """
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min(initial=0) < 0 or values.max(initial=0) > FULL:
            raise UnknownRangeError("32-bit pixels, whose range is unknown")
        return values.astype(np.uint16)
    shown = np.asarray(image.convert("RGB") if image.mode != "RGBA" else image)[:, :, :3]
    values = _decode(data)
    # Compared with Pillow's 8 bits, which are the upper half of every value: this checks the order of channels and the orientation.
    if values is None or values.shape != shown.shape or not np.array_equal(values >> 8, shown):
        raise UnknownRangeError("color of 16 bits in a form that is not understood; convert it to 8 bits")
    return values


def _decode(data: bytes) -> np.ndarray | None:
    """Return the values that OpenCV reads, uint16 (H, W) or (H, W, 3), RGB; None where they are of another kind."""
    import cv2

    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if pixels is None or pixels.dtype != np.uint16 or pixels.shape[2:] == (2,):
        return None
    return pixels if pixels.ndim == 2 else pixels[:, :, 2::-1]


def to_eight_bits(values: np.ndarray, white: int | None) -> np.ndarray:
    """Return uint16 values as uint8: 0 stays black; `white` and above become 255.

    Where `white` is None or 65535, all 16 bits are in use, and values are divided by 257.
    """
    if white is None or white == FULL:
        return (values // SIXTEEN_TO_EIGHT).astype(np.uint8)
    return ((np.minimum(values, white).astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)


def show(image: Image.Image, data: bytes, white: int) -> Image.Image:
    """Return a deep image, as Pillow has loaded it, in 8 bits: RGB, or RGBA where it has transparent pixels."""
    shown = Image.fromarray(to_eight_bits(deep_values(image, data), white)).convert("RGB")
    if image.has_transparency_data:
        shown.putalpha(image.convert("RGBA").getchannel("A"))
    return shown


def brightest(data: bytes) -> int:
    """Return the largest value of a file of 16 bits per channel, alpha left out; -1 where it is of another kind, or cannot be read."""
    if not may_be_deep(data[:HEAD]):
        return -1
    silence_decoders()
    try:
        with Image.open(io.BytesIO(data)) as image:
            if not is_deep(image):
                return -1
            image.load()
            return int(deep_values(image, data).max(initial=0))
    except UnidentifiedImageError:
        # Some TIFF files that OpenCV reads.
        values = _decode(data)
        return -1 if values is None else int(values.max(initial=0))
    except Exception:  # Decoders raise errors of many types; reading the image will report them.
        return -1
