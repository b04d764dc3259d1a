"""A woven cloth, generated: good pieces, and pieces with a hole, a stain or a pulled thread, in the layout of MVTec AD.

A piece is computed from its number in integer arithmetic, and the files are written without compression, so that they are equal on every
machine, to the byte, and metrics on them can be compared.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from dataloader.sources.shapes import Dice, write_png
from utils.errors import UserError
from utils.files import publish_folder

SIDE = 96
# Pixels from one thread to the next.
PITCH = 8
KINDS = ("hole", "stain", "thread")
GOOD = MappingProxyType({"train": 100, "test": 30})
DEFECTIVE = 20
SEED = 30_000


class Piece(NamedTuple):
    """A piece of cloth, uint8 (H, W, 3), and where a defect changed it, bool (H, W)."""

    image: np.ndarray
    defect: np.ndarray


def piece(number: int, *, side: int = SIDE, kind: str = "") -> Piece:
    """Return the piece of this number, perhaps with a defect of KINDS; else the two are the same."""
    assert kind in ("", *KINDS), kind
    dice = Dice(SEED, number)
    light = dice.number(-12, 12)
    rows, columns = np.arange(side)[:, None] + dice.number(0, 1), np.arange(side)[None, :] + dice.number(0, 1)
    across, along = _ridge(rows), _ridge(columns)
    # Threads pass over one another in turn.
    over = (rows // PITCH + columns // PITCH) % 2 == 0
    height = np.where(over, across, along)
    tone = np.where(over, 0, -14)
    image = np.stack([base + light + tone + height for base in (150, 132, 104)], 2) + dice.numbers(-9, 9, side, side, 1)
    defect = np.zeros((side, side), bool)
    if kind:
        more = Dice(SEED, number, 1)
        defect = _PLACES[kind](more, side)
        image[defect] = _damaged(image[defect], kind, more)
    return Piece(image.clip(0, 255).astype(np.uint8), defect)


def _ridge(places: np.ndarray) -> np.ndarray:
    """Return how bright a thread is across its width: a parabola, 0 at its edges, 36 in its middle."""
    inside = places % PITCH
    return inside * (PITCH - 1 - inside) * 3


def _disk(dice: Dice, side: int, least: int, most: int) -> np.ndarray:
    radius = dice.number(least, most)
    row, column = (dice.number(radius + 2, side - radius - 3) for _ in range(2))
    rows, columns = np.arange(side)[:, None], np.arange(side)[None, :]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def _hole(dice: Dice, side: int) -> np.ndarray:
    return _disk(dice, side, 4, 7)


def _stain(dice: Dice, side: int) -> np.ndarray:
    return _disk(dice, side, 8, 13)


def _thread(dice: Dice, side: int) -> np.ndarray:
    """Return a short thread that lies askew."""
    length, slope = dice.number(side // 4, side // 2), dice.number(-8, 8)
    row, column = dice.number(side // 4, 3 * side // 4), dice.number(2, side - length - 3)
    rows, columns = np.arange(side)[:, None], np.arange(side)[None, :]
    middle = row + (columns - column) * slope // 16
    return (abs(rows - middle) <= 1) & (columns >= column) & (columns < column + length)


_PLACES = MappingProxyType({"hole": _hole, "stain": _stain, "thread": _thread})


def _damaged(pixels: np.ndarray, kind: str, dice: Dice) -> np.ndarray:
    """Return the pixels (K, 3) of a defect: dark, discolored, or bright."""
    noise = dice.numbers(-6, 6, len(pixels), 1)
    if kind == "hole":
        return np.array([34, 30, 28]) + noise
    if kind == "stain":
        return pixels * 3 // 4 + np.array([4, -6, -20])
    return np.array([214, 204, 186]) + noise


def open_weave(home: Path) -> Path:
    """Return the folder of the cloth, weave/ below `home`, written at the first call.

    Raises:
        UserError: it cannot be written.
    """
    folder = home / "weave"
    if folder.is_dir():
        return folder
    temporary = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        _write(temporary, GOOD, DEFECTIVE)
        publish_folder(temporary, folder)
    except OSError as error:
        raise UserError(f"cannot write the cloth to {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _write(root: Path, good: Mapping[str, int], defective: int) -> None:
    number = 0
    for split, count in good.items():
        (root / split / "good").mkdir(parents=True)
        for _ in range(count):
            write_png(piece(number).image, root / split / "good" / f"{number:04d}.png")
            number += 1
    for kind in KINDS:
        for folder in ("test", "ground_truth"):
            (root / folder / kind).mkdir(parents=True)
        for _ in range(defective):
            made = piece(number, kind=kind)
            write_png(made.image, root / "test" / kind / f"{number:04d}.png")
            write_png(np.where(made.defect, 255, 0).astype(np.uint8), root / "ground_truth" / kind / f"{number:04d}_mask.png")
            number += 1
