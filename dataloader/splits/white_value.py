"""The white value of the 16-bit files of a data set: the range that their values use, found once before training."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median_low
from typing import Any, NamedTuple

from dataloader.images.read import ImageError
from dataloader.images.sixteen_bit import FULL, HEAD, brightest, may_be_deep
from dataloader.splits.catalog import Catalog
from dataloader.splits.split import Split
from dataloader.workers.measure_images import measure

# Suffixes of formats with 8 bits per channel, which are not opened, so that data sets of JPEG files cost no time.
SHALLOW = (".jpg", ".jpeg", ".webp", ".gif", ".bmp")
LEAST_BITS = 8
# Files that are examined when a model is used on other images.
PROBES = 16
# White of 12 bits: a sixteenth of the range of 16.
DARK = 4095
# Files that are examined before one that needs all 16 bits ends the search.
SAMPLE = 64
# Where most files need so many bits less than the brightest, they use a sixteenth of the gray levels and are nearly black.
STRETCHED = 4


class SixteenBitRange(NamedTuple):
    """The range of values in the 16-bit files of a data set.

    Attributes:
        white: the largest value of as many bits as the largest value needs; None where there are no such files.
        largest: the largest value that was found; -1 where there are no such files.
        brightest: the file that has it.
        usual: white of the median file among those examined.
    """

    white: int | None = None
    largest: int = -1
    brightest: str = ""
    usual: int = 0

    def is_stretched(self) -> bool:
        """Whether most files would be nearly black in this range, which a few others have stretched."""
        return self.white is not None and self.white.bit_length() - self.usual.bit_length() >= STRETCHED


def find_white(catalog: Catalog, *, workers: int, advance: Callable[[int], Any] = int) -> SixteenBitRange:
    """Return the range of the 16-bit files of a data set.

    White is the largest value of as many bits as the largest value of all splits needs, at least 8: 4095 for a camera of
    12 bits. It belongs to the data set, so that an image means the same in every split and fold. A file whose values need all
    16 bits ends the search, once SAMPLE files from all over a split have been examined.

    Args:
        catalog: all splits.
        workers: processes that decode.
        advance: called after every decoded file.

    Raises:
        UserError: a file crashed the process that decoded it.
    """
    found: list[tuple[int, str]] = []
    largest = -1
    for split in catalog.splits.values():
        numbers = _sample_first(deep_files(split))
        values = measure(partial(_brightest, split), numbers, workers=workers, name=split.file)
        try:
            for number, value in zip(numbers, values if numbers else (), strict=True):
                advance(1)
                if value >= 0:
                    found.append((value, split.file(number)))
                largest = max(largest, value)
                if len(found) >= SAMPLE and white_of(largest) == FULL:
                    return _range_of(found)
        finally:
            values.close()
    return _range_of(found)


def _range_of(found: list[tuple[int, str]]) -> SixteenBitRange:
    """Return the range of files by their largest values."""
    if not found:
        return SixteenBitRange()
    largest, brightest = max(found)
    return SixteenBitRange(white_of(largest), largest, brightest, white_of(median_low(value for value, _ in found)))


def _sample_first(numbers: list[int]) -> list[int]:
    """Return numbers with SAMPLE of them, evenly spread, in front."""
    first = numbers[:: max(1, -(-len(numbers) // SAMPLE))]
    return first + sorted(set(numbers) - set(first))


def white_of(largest: int) -> int:
    """Return the largest value of as many bits as `largest` needs, at least 255."""
    return 2 ** max(LEAST_BITS, largest.bit_length()) - 1


def deep_files(split: Split) -> list[int]:
    """Return the images of a split that may have 16 bits per channel, by their first bytes."""
    return [index for index, path in enumerate(split.paths) if not path.lower().endswith(SHALLOW) and may_be_deep(_head(split, index))]


def with_white(catalog: Catalog, white: int | None) -> Catalog:
    """Return the catalog with the 16-bit files of all its splits scaled to this white."""
    return replace(catalog, splits={name: replace(split, white=white) for name, split in catalog.splits.items()})


def mismatch(split: Split) -> str:
    """Return a warning where 16-bit files of a split have another range than the model was trained on; '' where they fit.

    A few of them are examined.
    """
    probes = sorted({round(place * (len(split) - 1) / max(1, PROBES - 1)) for place in range(PROBES)}) if len(split) else []
    probes = [index for index in probes if may_be_deep(_head(split, index))]
    largest = max((_brightest(split, index) for index in probes), default=-1)
    white = FULL if split.white is None else split.white
    if largest > white:
        return f"values of 16-bit images reach {largest:,} here, but {white:,} is white for this model: brighter values are lost"
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
