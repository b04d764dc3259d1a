"""Masks in image files: one number, or one color, per pixel."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from dataloader.images.read import ImageError, file_status, upright_size
from dataloader.sources.mask_classes import MaskClasses
from dataloader.targets.mask import IGNORE, Mask
from utils.cores import default_workers
from utils.user_cache import read_cached, write_cached

# Pillow's modes with one number per pixel: 1, 8, 16 and 32 bits, and palette indices.
_NUMBERS = ("1", "L", "P", "I;16", "I;16B", "I")
# Gray with transparency, as some drawing programs write a mask.
_GRAY = ("LA", "PA")
_KIND = "masks"


def read_mask(path: str | os.PathLike[str], *, colors: bool = False) -> np.ndarray:
    """Return the numbers in an image file, integers (H, W) of the type that the file has; for a palette, its indices, not its colors.

    Args:
        path: the file.
        colors: return the colors instead, uint8 (H, W, 3), also of a palette; those of a file of numbers are gray.

    Raises:
        ImageError: the file is missing, damaged, or has colors where numbers are wanted.
    """
    name = os.fspath(path)
    file_status(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(name) as image:
                mode = image.mode
                if colors:
                    return np.array(image.convert("RGB"))
                ids = np.array(image.getchannel(0) if mode in _GRAY else image)
    except Exception as error:  # Decoders raise errors of many types on damaged files; all become ImageError.
        raise ImageError(name, f"not a mask, or damaged ({type(error).__name__})") from error
    if mode not in (*_NUMBERS, *_GRAY):
        raise ImageError(
            name, f"a mask has one number per pixel, and this file has colors ({mode}); labels.csv (name,r,g,b) says what they mean"
        )
    return ids.astype(np.uint8) if mode == "1" else ids


def has_colors(path: str | os.PathLike[str]) -> bool:
    """Whether a mask holds colors rather than numbers, by the head of its file; of a damaged one, False."""
    try:
        with Image.open(path) as image:
            return image.mode not in (*_NUMBERS, *_GRAY)
    except Exception:  # Reported where it is read.
        return False


@dataclass(frozen=True)
class MaskFolder:
    """The truths of images whose masks are image files.

    Attributes:
        folder: root of the masks; that of image a/b.jpg is a/b.png below it, unless `files` says otherwise.
        classes: names of the classes, from 0 on.
        ignore: the number of unlabeled pixels.
        files: image -> its mask below the folder, where names differ.
        coding: what the numbers and colors in the files mean; None where they are the classes.
        blank: root of the images; one that has no mask shows class 0 alone. None makes a missing mask an error.
    """

    folder: Path
    classes: tuple[str, ...]
    ignore: int = IGNORE
    files: Mapping[str, str] = field(default_factory=dict)
    coding: MaskClasses | None = None
    blank: Path | None = None

    def read(self, path: str) -> Mask:
        """Return the mask of an image.

        Raises:
            ImageError: it is missing or damaged.
            UserError: it holds what has no name.
        """
        if self.blank is not None and path not in self.files:
            return Mask(np.zeros(upright_size(self.blank / path), np.uint8), self.ignore)
        return Mask(self.decode(self.file(path)), self.ignore)

    def file(self, path: str) -> Path:
        """Return the file of the mask of an image."""
        return self.folder / self.files[path] if path in self.files else (self.folder / path).with_suffix(".png")

    def decode(self, file: Path) -> np.ndarray:
        """Return the classes in a file, integers (H, W).

        Raises:
            ImageError, UserError: as for `read`.
        """
        if self.coding is None:
            return read_mask(file)
        colors = self.coding.colors and (not self.coding.ids.keys() - {IGNORE} or has_colors(file))
        values = read_mask(file, colors=bool(colors))
        return self.coding.of_colors(values, str(file)) if colors else self.coding.of_numbers(values, str(file))

    def nothing(self) -> Mask:
        """Return a mask of one unlabeled pixel."""
        return Mask(np.full((1, 1), self.ignore, np.uint8), self.ignore)

    def count(self, paths: Sequence[str]) -> np.ndarray:
        """Return the pixels of every class in the masks of some images, int64 (C,); files that cannot be read count for nothing.

        Raises:
            UserError: a mask holds what has no name.
        """
        total = np.zeros(len(self.classes), np.int64)
        files = [self.file(path) for path in paths if path in self.files or self.blank is None]
        by_number = self.coding is None or not self.coding.colors
        for file, values in value_counts(self.folder, files, None if by_number else self.decode).items():
            for value, pixels in values.items():
                number = value
                if by_number and self.coding is not None:
                    number = int(self.coding.of_numbers(np.array([value]), str(file))[0])
                if number < len(total):
                    total[number] += pixels
        if (blank := self.blank) is None:
            return total
        for path in paths:
            if path not in self.files:
                total[0] += int(np.prod(upright_size(blank / path)))
        return total


def value_counts(root: Path, files: Sequence[Path], decode: Callable[[Path], np.ndarray] | None = None) -> dict[Path, dict[int, int]]:
    """Return file -> value -> number of pixels, for masks that can be read; those of numbers are kept in the user's cache.

    Args:
        root: of the data, by which the cache finds them again.
        files: the masks.
        decode: file -> integers (H, W), where the numbers in the files are not wanted; nothing is kept then.
    """
    kept = read_cached(_KIND, root) if decode is None else None
    known: dict[str, list] = kept if isinstance(kept, dict) else {}
    stamps: dict[Path, list[int]] = {}
    for file in files:
        if (stamp := _stamp(file)) is not None:
            stamps[file] = stamp
    missing = [file for file, stamp in stamps.items() if known.get(str(file), [None])[0] != stamp]
    read = decode or read_mask
    with ThreadPoolExecutor(max(1, default_workers())) as pool:
        for file, counts in zip(missing, pool.map(partial(_count, read), missing), strict=True):
            if counts is not None:
                known[str(file)] = [stamps[file], sorted(counts.items())]
    if missing and decode is None:
        write_cached(_KIND, root, known)
    return {file: {int(value): int(count) for value, count in known[str(file)][1]} for file in stamps if str(file) in known}


def _stamp(file: Path) -> list[int] | None:
    try:
        status = file_status(os.fspath(file))
    except ImageError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _count(read: Callable[[Path], np.ndarray], file: Path) -> Counter[int] | None:
    try:
        values = read(file)
    except ImageError:
        return None
    if values.dtype == np.uint8:
        counts = np.bincount(values.ravel(), minlength=256)
        return Counter({int(value): int(counts[value]) for value in np.flatnonzero(counts)})
    found, counts = np.unique(values, return_counts=True)
    return Counter(dict(zip(found.tolist(), counts.tolist(), strict=True)))
