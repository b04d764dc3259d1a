"""Write resized images once, so that training does not decode large ones in every epoch."""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataloader.images.mean_std import ChannelSums, measure
from dataloader.images.read import ImageError, decode_image
from dataloader.images.sixteen_bit import brightest
from dataloader.splits.split import Split
from utils.files import write_atomically

QUALITY = 95
LONGEST = 65_535
# Lossless formats stay lossless; all others become JPEG.
LOSSLESS = frozenset({"png", "bmp", "gif", "tif", "tiff"})


class ResizeJob(NamedTuple):
    """One image to be written.

    Attributes:
        split, index: which one.
        destination: POSIX path of the new file, relative to the new folder.
    """

    split: str
    index: int
    destination: str


class ResizeResult(NamedTuple):
    """The result for an image.

    Attributes:
        copy: which one.
        moments: sums over its pixels as written; None where it could not be read.
        reason: why it could not be read.
        smaller_side: of the original image, in pixels; 0 where it could not be read.
    """

    copy: ResizeJob
    moments: ChannelSums | None
    reason: str
    smaller_side: int = 0


@dataclass(frozen=True)
class Resizer:
    """Copy -> Written: reads an image, resizes it, and writes it; a file that is already there is kept.

    Attributes:
        splits: name -> where the images come from.
        folder: where they go.
        side: length of the smaller side, in pixels.
        center_crop: whether the centered square is cut out.
    """

    splits: dict[str, Split]
    folder: Path
    side: int
    center_crop: bool

    def __call__(self, copy: ResizeJob) -> ResizeResult:
        split, destination = self.splits[copy.split], self.folder / copy.destination
        try:
            if not _is_fresh(destination, split, copy.index):
                data = split.read_bytes(copy.index)
                cut = {"side": self.side, "center_crop": self.center_crop, "white": split.white}
                data = resized_bytes(data, split.file(copy.index), destination.suffix, **cut)
                write_atomically(destination, lambda place: place.write_bytes(data), flush=False)
            else:
                data = destination.read_bytes()
            before = smaller_side_of(split, copy.index)
        except ImageError as error:
            return ResizeResult(copy, None, error.reason)
        # Measured on the written file, which training will see, with its compression losses.
        return ResizeResult(copy, measure(decode_image(data, str(destination))), "", before)


def suffix_for(path: str) -> str:
    """Return the suffix that the resized image of a file gets."""
    return ".png" if path.rpartition(".")[2].lower() in LOSSLESS else ".jpg"


def resized_bytes(data: bytes, name: str, suffix: str, *, side: int, center_crop: bool, white: int | None = None) -> bytes:
    """Return an encoded image resized and encoded again; unchanged if no resizing is needed.

    16-bit images become 8-bit, scaled to `white` as in `read_image`.

    Raises:
        ImageError: it cannot be read.
    """
    pixels = decode_image(data, name, white=white)
    try:
        result = resize_smaller_side(pixels, side, center_crop=center_crop)
    except ValueError as error:
        raise ImageError(name, str(error)) from error
    if result.shape == pixels.shape and Path(name).suffix.lower().replace("jpeg", "jpg") == suffix and brightest(data) < 0:
        return data
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(result).save(file, "PNG" if suffix == ".png" else "JPEG", quality=QUALITY)
    return file.getvalue()


def resize_smaller_side(image: np.ndarray, side: int, *, center_crop: bool) -> np.ndarray:
    """Return the image, uint8 (H, W, 3), with its smaller side `side` pixels long and the same aspect ratio.

    Pillow's Lanczos filter, with antialiasing. With `center_crop` only the square in the middle, (side, side, 3).

    Raises:
        ValueError: the result would be longer than any JPEG.
    """
    from PIL import Image

    height, width = image.shape[:2]
    if center_crop:
        edge = min(height, width)
        top, left = (height - edge) // 2, (width - edge) // 2
        image = np.ascontiguousarray(image[top : top + edge, left : left + edge])
        height = width = edge
    size = smaller_side_size(width, height, side)
    if max(size) > LONGEST:
        raise ValueError(f"{width}x{height} pixels are too narrow: the longer side would become {max(size)}")
    return image if size == (width, height) else np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def smaller_side_of(split: Split, index: int) -> int:
    """Return the smaller side of an image, in pixels: from its header, if that can be read.

    Raises:
        ImageError: it cannot be read.
    """
    from PIL import Image

    source = split.file(index) if split.store is None else io.BytesIO(split.read_bytes(index))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(source) as image:
                return min(image.size)
    except (OSError, ValueError, Image.DecompressionBombError):
        return min(split.read(index).shape[:2])


def smaller_side_size(width: int, height: int, side: int) -> tuple[int, int]:
    """Return (width, height) with the smaller one equal to `side` and the same aspect ratio, rounded half up."""
    if width <= height:
        return side, (2 * height * side + width) // (2 * width)
    return (2 * width * side + height) // (2 * height), side


def _is_fresh(destination: Path, split: Split, index: int) -> bool:
    """Whether the file is newer than its source image."""
    try:
        written = destination.stat().st_mtime_ns
    except OSError:
        return False
    return split.stamp(index).changed_ns <= written
