"""Masks in image files: one number per pixel."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dataloader.images.read import ImageError, file_status
from dataloader.targets.mask import IGNORE, Mask

# Pillow's modes with one number per pixel: 1, 8, 16 and 32 bits, and palette indices.
_NUMBERS = ("1", "L", "P", "I;16", "I;16B", "I")


def read_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """Return the numbers in an image file, integers (H, W) of the type that the file has; for a palette, its indices, not its colors.

    Raises:
        ImageError: the file is missing, damaged, or has colors.
    """
    name = os.fspath(path)
    file_status(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(name) as image:
                mode, ids = image.mode, np.array(image)
    except Exception as error:  # Decoders raise errors of many types on damaged files; all become ImageError.
        raise ImageError(name, f"not a mask, or damaged ({type(error).__name__})") from error
    if mode not in _NUMBERS:
        raise ImageError(name, f"a mask has one number per pixel, and this file has colors ({mode})")
    return ids.astype(np.uint8) if mode == "1" else ids


@dataclass(frozen=True)
class MaskFolder:
    """The truths of images whose masks have the same names, as PNG, in a folder of their own.

    Attributes:
        folder: root of the masks; that of image a/b.jpg is a/b.png below it.
        classes: names of the numbers, from 0 on.
        ignore: the number of unlabeled pixels.
    """

    folder: Path
    classes: tuple[str, ...]
    ignore: int = IGNORE

    def read(self, path: str) -> Mask:
        """Return the mask of an image.

        Raises:
            ImageError: it is missing or damaged.
        """
        return Mask(read_mask((self.folder / path).with_suffix(".png")), self.ignore)

    def nothing(self) -> Mask:
        """Return a mask of one unlabeled pixel."""
        return Mask(np.full((1, 1), self.ignore, np.uint8), self.ignore)
