"""Examine one image file once: whether it can be read, its format, its colors, and hashes to find copies."""

import hashlib
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from dataloader.checks.near_duplicates import GRID, perceptual_hash
from dataloader.images.read import ImageError, UnsupportedError, read_image

Problem = Literal["", "missing", "denied", "special", "empty", "foreign", "bomb", "damaged", "unsupported", "crash"]

# Large JPEG files are decoded at a fraction of their size, but never below this smaller side, in pixels.
SIDE = 256
_ORIENTATION = 0x0112
_VALUES = np.arange(256, dtype=np.float64)
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


class FileFacts(NamedTuple):
    """The facts about one file.

    Attributes:
        problem: kind of the problem that keeps it from being read; '' when it can be read.
        reason: the problem in a few words.
        size: bytes.
        digest: of the bytes, 16 bytes long; empty when they could not be read.
        form: format by content, as Pillow names it: JPEG, PNG, ...; '' when no header was understood.
        mode: Pillow's name of the kind of pixels: RGB, L, CMYK, ...
        width, height: pixels of the upright image.
        animated: whether it has more than one frame.
        turned: whether EXIF says to turn or mirror it.
        mean, square: means of the channels and of their squares, of values in 0..1.
        grid: luma on 32x32 cells, 1,024 bytes.
        look: perceptual hash of 64 bits.
    """

    problem: Problem = ""
    reason: str = ""
    size: int = 0
    digest: bytes = b""
    form: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    animated: bool = False
    turned: bool = False
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    square: tuple[float, ...] = (0.0, 0.0, 0.0)
    grid: bytes = b""
    look: int = 0

    @property
    def spread(self) -> float:
        """The largest standard deviation of a channel, of values in 0..1."""
        return max(max(0.0, square - mean * mean) for mean, square in zip(self.mean, self.square, strict=True)) ** 0.5


def examine(file: str) -> FileFacts:
    """Return the facts about a file; problems are facts, too, and never raise."""
    try:
        status = os.stat(file)
        if not stat.S_ISREG(status.st_mode):
            return FileFacts("special", f"it is {_KINDS.get(stat.S_IFMT(status.st_mode), 'special')}, not a file")
        if status.st_size == 0:
            return FileFacts("empty", "the file is empty")
        with open(file, "rb") as opened:
            digest = hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).digest()
    except OSError as error:
        return FileFacts("denied" if isinstance(error, PermissionError) else "missing", (error.strerror or "cannot be opened").lower())
    known = read_header(file)._replace(size=status.st_size, digest=digest)
    if known.problem == "bomb":
        return known
    try:
        image = glimpse(file, SIDE)
    except UnsupportedError as error:
        return known._replace(problem="unsupported", reason=error.reason)
    except ImageError as error:
        if _is_of_the_machine(error.__cause__):
            return known._replace(problem="missing", reason=error.reason)
        return known._replace(problem=known.problem or "damaged", reason=error.reason)
    # Some TIFF files that Pillow does not know can still be read.
    known = known._replace(problem="", reason="", width=known.width or image.width, height=known.height or image.height)
    return known._replace(**_measure(image))


def _is_of_the_machine(error: BaseException | None) -> bool:
    """Whether the system failed (a bad disk, too many open files, no memory) rather than the file, which must not be moved away then."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None)


def read_header(file: str) -> FileFacts:
    """Return what the header of a file says, without its pixels."""
    try:
        with _bombs_are_errors(), Image.open(file) as image:
            width, height = image.size
            orientation = _orientation(image)
            if orientation >= 5:
                width, height = height, width
            # A JPEG of several pictures (MPO) is a photograph with previews, not an animation.
            frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
            form = "JPEG" if image.format == "MPO" else image.format or ""
            return FileFacts(form=form, mode=image.mode, width=width, height=height, animated=frames > 1, turned=orientation > 1)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return FileFacts("bomb", f"more than {Image.MAX_IMAGE_PIXELS} pixels, taken for a decompression bomb")
    except Exception:  # Decoders raise errors of many types; the reader of training reports the reason.
        return FileFacts("foreign")


def glimpse(file: str, side: int) -> Image.Image:
    """Return a file as an upright RGB image, its smaller side at least `side` pixels where the file has them.

    Large JPEG files are decoded at a half, a quarter or an eighth of their size, but all of their data is read.

    Raises:
        ImageError: it cannot be read.
    """
    # Anything unusual is left to the reader of training.
    with suppress(Exception), _bombs_are_errors(), Image.open(file) as image:
        if image.format == "JPEG" and image.mode in ("L", "RGB"):
            image.draft(image.mode, (side, side))
            ImageOps.exif_transpose(image, in_place=True)
            return image if image.mode == "RGB" else image.convert("RGB")
    return Image.fromarray(read_image(file))


def _measure(image: Image.Image) -> dict:
    counts = np.asarray(image.histogram(), dtype=np.float64).reshape(3, 256) / (image.width * image.height)
    values = _VALUES / 255
    luma = image.convert("L").resize((GRID, GRID), Image.Resampling.BOX)
    return {
        "mean": tuple((counts @ values).tolist()),
        "square": tuple((counts @ values**2).tolist()),
        "grid": luma.tobytes(),
        "look": perceptual_hash(np.asarray(luma)),
    }


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # Damaged metadata does not affect the pixels.
        return 1
    return value if value in range(1, 9) else 1


@contextmanager
def _bombs_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
