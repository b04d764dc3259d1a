"""Mean and standard deviation of the channels of many images: summed exactly, stored as JSON, used for normalization."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from utils.errors import UserError
from utils.files import write_text

FORM = '{"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}'


class ChannelSums(NamedTuple):
    """Sums over the pixels of images; integers, so that the result does not depend on the order of the images.

    Attributes:
        pixels: number of them.
        sums: of the values 0..255 of every channel.
        squares: of their squares.
    """

    pixels: int
    sums: tuple[int, int, int]
    squares: tuple[int, int, int]


def measure(image: np.ndarray) -> ChannelSums:
    """Return the sums of an image, uint8 (H, W, 3)."""
    values = image.reshape(-1, 3).astype(np.int64)
    red, green, blue = values.sum(0).tolist()
    red2, green2, blue2 = (values * values).sum(0).tolist()
    return ChannelSums(len(values), (red, green, blue), (red2, green2, blue2))


def mean_std(moments: Iterable[ChannelSums]) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel over all pixels, for values in 0..1."""
    pixels, sums, squares = 0, [0, 0, 0], [0, 0, 0]
    for each in moments:
        pixels += each.pixels
        sums = [total + new for total, new in zip(sums, each.sums, strict=True)]
        squares = [total + new for total, new in zip(squares, each.squares, strict=True)]
    assert pixels > 0, "there is an image"
    means = [total / pixels for total in sums]
    # In integers, since the difference of two large floats loses digits.
    variances = [(pixels * square - total * total) / pixels**2 for total, square in zip(sums, squares, strict=True)]
    return [mean / 255 for mean in means], [variance**0.5 / 255 for variance in variances]


def write_mean_std(path: Path, mean: list[float], std: list[float], *, images: int) -> None:
    """Write the file that `read_mean_std` reads, with the number of images."""
    rounded = {"mean": [round(value, 6) for value in mean], "std": [round(value, 6) for value in std], "images": images}
    write_text(path, json.dumps(rounded) + "\n")


def read_mean_std(path: Path) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return mean and standard deviation of the RGB channels, for values in 0..1.

    Raises:
        UserError: the file cannot be read, or its numbers make no sense.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"--mean_std {path}: {(error.strerror or 'cannot be read').lower()}; --prepare writes such a file") from error
    except ValueError as error:
        raise UserError(f"--mean_std {path}: not valid JSON ({error}); write {FORM}") from error
    mean, std = (_three(content, name, path) for name in ("mean", "std"))
    if not all(0 <= value <= 1 for value in mean) or not all(0 < value <= 1 for value in std):
        raise UserError(f"--mean_std {path}: the numbers are for values in 0..1, each std above 0; divide those for 0..255 by 255")
    return mean, std


def _three(content: Any, name: str, path: Path) -> tuple[float, float, float]:
    values = content.get(name) if isinstance(content, dict) else None
    if not (isinstance(values, list) and len(values) == 3 and all(isinstance(value, int | float) for value in values)):
        raise UserError(f"--mean_std {path}: needs three numbers for 'mean' and three for 'std', of values in 0..1: {FORM}")
    return values[0], values[1], values[2]
