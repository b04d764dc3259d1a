"""Runs of pixels, as COCO's JSON holds masks: counted down the columns, alternately outside and inside (pycocotools' maskApi)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dataloader.targets.plane_change import Size


def decode_runs(runs: Mapping[str, Any], size: Size) -> np.ndarray:
    """Return where a mask is, bool (H, W).

    Args:
        runs: 'counts', numbers or COCO's string of them, and 'size', [H, W].
        size: (H, W) of the image.

    Raises:
        ValueError: they are for another size, or do not fill it.
    """
    return fill_runs(run_lengths(runs, size), size)


def run_lengths(runs: Mapping[str, Any], size: Size) -> np.ndarray:
    """Return the lengths of the runs of a mask, int64 (K,); arguments and errors as for `decode_runs`."""
    counts, (height, width) = runs["counts"], runs.get("size", size)
    if (height, width) != tuple(size):
        raise ValueError(f"runs of {width}x{height} pixels for an image of {size[1]}x{size[0]}")
    lengths = np.array(read_string(counts) if isinstance(counts, str) else counts, np.int64)
    if lengths.ndim != 1 or lengths.min(initial=0) < 0:
        raise ValueError("runs that are no row of lengths")
    if (total := int(lengths.sum())) != height * width:
        raise ValueError(f"runs of {total} pixels for an image of {height * width}")
    return lengths


def fill_runs(lengths: np.ndarray, size: Size) -> np.ndarray:
    """Return where a mask is, bool (H, W), by the lengths of its runs, int64 (K,)."""
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, lengths).reshape(size[1], size[0]).T


def encode_runs(mask: np.ndarray) -> dict[str, Any]:
    """Return the runs of a mask, bool (H, W), as plain values."""
    flat = np.concatenate([[False], mask.T.ravel()])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    lengths = np.diff(np.concatenate([[0], edges, [mask.size]]))
    return {"counts": lengths.tolist(), "size": list(mask.shape)}


def read_string(text: str) -> Sequence[int]:
    """Return the numbers in COCO's compressed string: five bits a character, from the third on differences to the last but one.

    Raises:
        ValueError: it ends within a number.
    """
    numbers: list[int] = []
    place = 0
    while place < len(text):
        value = shift = 0
        more = True
        while more:
            if place == len(text):
                raise ValueError("a string of runs that ends within a number")
            bits = ord(text[place]) - 48
            value |= (bits & 0x1F) << shift
            more, shift, place = bool(bits & 0x20), shift + 5, place + 1
            if not more and bits & 0x10:
                value -= 1 << shift
        numbers.append(value + numbers[-2] if len(numbers) > 2 else value)
    return numbers
