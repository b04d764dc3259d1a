"""Boxes in text files, one file an image, a line a box, in shares of the image: those of YOLO, and corners with the class behind them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from dataloader.sources.box_table import BoxRow, BoxRows, rows_of
from utils.errors import UserError

# 'class x y w h' around the center, or 'left top right bottom class'.
Order = Literal["yolo", "corners"]
WANTED: Mapping[Order, str] = {"yolo": "class x_center y_center width height", "corners": "left top right bottom class"}
# Boxes may leave the image by rounding, or because their object does; pixels are larger numbers.
MOST_SHARE = 2.0


def read_text(file: Path, order: Order, numbers: Mapping[int, int], named_by: str, *, faults: list[str]) -> BoxRows:
    """Return the boxes of a text file.

    Args:
        file: it may be empty: nothing is on the image.
        order: of the numbers in a line.
        numbers: class in the file -> number of the class.
        named_by: what names the classes, for messages.
        faults: takes a message for every line that cannot be used.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error
    found = []
    for place, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        try:
            row = _row(words, order, numbers, named_by, place)
        except ValueError as error:
            faults.append(f"{file}, line {place}: {error}")
            continue
        if row is not None:
            found.append(row)
    return rows_of(found)


def _row(words: list[str], order: Order, numbers: Mapping[int, int], named_by: str, place: int) -> BoxRow | None:
    """Return the box of a line; None where it says that there is none.

    Raises:
        ValueError: it holds no box, with what is wrong.
    """
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise ValueError(f"'{' '.join(words)[:40]}' is no row of numbers; write {WANTED[order]}") from error
    if not np.isfinite(values).all():
        raise ValueError(f"'{' '.join(words)[:40]}' has a number that is none; write {WANTED[order]}")
    outlined = order == "yolo" and len(values) >= 7 and len(values) % 2
    # Answers of a detector have their score at the end.
    values = values[:5] if order == "yolo" and len(values) == 6 else values
    if len(values) != 5 and not outlined:
        raise ValueError(f"it has {len(values)} numbers; write {WANTED[order]}, in shares of the image from 0 to 1")
    kind, shares = (values[0], values[1:]) if order == "yolo" else (values[4], values[:4])
    if order == "corners" and not any(shares):
        return None
    if max(map(abs, shares)) > MOST_SHARE:
        raise ValueError(f"{max(shares, key=abs):g} is a number of pixels; write shares of the image, from 0 to 1: {WANTED[order]}")
    number = numbers.get(int(kind)) if kind == int(kind) else None
    if number is None:
        raise ValueError(
            f"the class is {kind:g}, and {named_by} names {len(numbers)} classes{_range(numbers)}; add it there, or mend the line"
        )
    if outlined:
        return BoxRow((min(shares[::2]), min(shares[1::2]), max(shares[::2]), max(shares[1::2])), number, place)
    if order == "corners":
        left, top, right, bottom = shares
    else:
        x, y, width, height = shares
        left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    return BoxRow((left, top, right, bottom), number, place)


def _range(numbers: Mapping[int, int]) -> str:
    return f", {min(numbers)} to {max(numbers)}" if numbers else ""
