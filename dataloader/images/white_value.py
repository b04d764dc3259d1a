"""What is white in the 16-bit files of a data set: the range that their values use, found once before training."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from dataloader.cache.fill import measure
from dataloader.images.read import ImageError
from dataloader.images.sixteen_bit import FULL, HEAD, brightest, may_be_deep
from dataloader.splits.split import Catalog, Split

# By their names, so that data sets of JPEG files cost nothing.
SHALLOW = (".jpg", ".jpeg", ".webp", ".gif", ".bmp")
LEAST_BITS = 8
# Files that are looked at where a model meets other images.
PROBES = 16
# White of 12 bits, a sixteenth of 16.
DARK = 4095


def find_white(catalog: Catalog, *, workers: int, advance: Callable[[int], Any] = int) -> tuple[int | None, int]:
    """Return what is white in the 16-bit files of a data set, and their largest value; (None, -1) where there are no such files.

    White is the largest value of as many bits as the largest value of all splits needs, at least 8: 4095 for a camera of
    12 bits. It belongs to the data set, so that an image means the same in every split and fold. A file whose values need all
    16 bits ends the search.

    Args:
        catalog: all splits.
        workers: processes that decode.
        advance: told after every file that is decoded.

    Raises:
        UserError: a file ended the process that decoded it.
    """
    largest = -1
    for split in catalog.splits.values():
        numbers = deep_files(split)
        values = measure(partial(_brightest, split), numbers, workers=workers, name=split.file)
        try:
            for value in values if numbers else ():
                advance(1)
                largest = max(largest, value)
                if white_of(largest) == FULL:
                    return FULL, largest
        finally:
            values.close()
    return (None if largest < 0 else white_of(largest)), largest


def white_of(largest: int) -> int:
    """Return the largest value of as many bits as `largest` needs, at least 255."""
    return 2 ** max(LEAST_BITS, largest.bit_length()) - 1


def deep_files(split: Split) -> list[int]:
    """Return the images of a split that may have 16 bits a channel, by their first bytes."""
    return [index for index, path in enumerate(split.paths) if not path.lower().endswith(SHALLOW) and may_be_deep(_head(split, index))]


def shown(catalog: Catalog, white: int | None) -> Catalog:
    """Return the catalog with the 16-bit files of all its splits scaled to this white."""
    return replace(catalog, splits={name: replace(split, white=white) for name, split in catalog.splits.items()})


def mismatch(split: Split) -> str:
    """Return what to say where 16-bit files of a split have another range than the model was trained on; '' where they fit.

    A few of them are looked at.
    """
    probes = sorted({round(place * (len(split) - 1) / max(1, PROBES - 1)) for place in range(PROBES)}) if len(split) else []
    probes = [index for index in probes if may_be_deep(_head(split, index))]
    largest = max((_brightest(split, index) for index in probes), default=-1)
    white = FULL if split.white is None else split.white
    if largest > white:
        return f"values of 16-bit images reach {largest:,} here, but {white:,} is white for this model: what is brighter is lost"
    if largest >= 0 and white == FULL and white_of(largest) <= DARK:
        return f"values of 16-bit images end at {largest:,} here, but {white:,} is white for this model: they look nearly black to it"
    return ""


def _brightest(split: Split, index: int) -> int:
    try:
        return brightest(split.read_bytes(index))
    except ImageError:
        return -1


def _head(split: Split, index: int) -> bytes:
    """Return the first bytes of a file; of one that cannot be read, those of a kind that has 8 bits."""
    try:
        if split.store is not None:
            return split.read_bytes(index)[:HEAD]
        split.stamp(index)
        with open(split.file(index), "rb") as file:
            return file.read(HEAD)
    except (ImageError, OSError):
        return b"BM"
