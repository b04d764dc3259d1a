"""The built-in scenes: colored shapes on textured ground, with labels, masks, boxes and defects, the same on every machine.

A scene is computed from its number in integer arithmetic, without random floats, sines or resampling of a library, and the files
are written without compression. So they are equal on every machine, to the byte, and metrics on them can be compared.
"""

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from types import MappingProxyType

import numpy as np

from utils.errors import UserError
from utils.files import publish_folder, write_text
from utils.randomness import derive_seed

CLASSES = ("circle", "cross", "ring", "square", "star", "triangle")
DEFECTS = ("scratch", "stain")
# What is no shape, in masks, and the table of their classes.
GROUND, LABELS = "ground", "masks/labels.csv"
# Images of each class in each split; scenes are numbered in this order.
COUNTS: Mapping[str, int] = MappingProxyType({"train": 240, "val": 40, "test": 80})
# Scenes of the anomaly data: numbers that are in no split, so that both can be used together.
GOOD = MappingProxyType({"train": 120, "test": 30})
DEFECTIVE = 30
SIDE = 64
SEED = 20_000
# Directions are integer vectors of about this length.
UNIT = 1024
# Least difference between the colors of a shape and the ground below it, summed over the channels.
LEAST_CONTRAST = 180
# Pixels of a defect.
LEAST_DEFECT = 14


@dataclass(frozen=True)
class Scene:
    """An image and its ground truth.

    Attributes:
        image: uint8 (H, W, 3) RGB.
        label: number of the class of the largest shape, whose radius is at least twice that of any other.
        mask: uint8 (H, W): 0 for ground, else 1 + the number of the class.
        instances: uint8 (H, W): 0 for ground, else 1 + the place of the shape in `boxes`.
        boxes: int64 (K, 4): left, top, right, bottom, the last two exclusive. The largest shape comes first; no two shapes touch.
        classes: int64 (K,): number of the class of each.
        colors: uint8 (K, 3): color of each, before shading.
        defect: bool (H, W): where a defect changed the image.
    """

    image: np.ndarray
    label: int
    mask: np.ndarray
    instances: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    colors: np.ndarray
    defect: np.ndarray


class Dice:
    """Random integers that depend only on a position; the raw bits are the same under every version of NumPy."""

    def __init__(self, *position: int) -> None:
        self._bits = np.random.PCG64(derive_seed(SEED, *position))

    def number(self, low: int, high: int) -> int:
        """Return a number in low..high."""
        return low + int(self._bits.random_raw()) % (high - low + 1)

    def numbers(self, low: int, high: int, *shape: int) -> np.ndarray:
        """Return numbers in low..high, int64."""
        count = int(np.prod(shape))
        return (self._bits.random_raw(count) % np.uint64(high - low + 1)).astype(np.int64).reshape(shape) + low


def scene(index: int, *, side: int = SIDE, defect: str = "") -> Scene:
    """Return the scene of this number, `side` pixels high and wide, perhaps with a defect of DEFECTS on its largest shape.

    With and without a defect the scene is the same except for the pixels of `defect`. Classes take turns.
    """
    assert index >= 0, "scenes are numbered from 0"
    assert side >= 32, "smaller shapes cannot be distinguished"
    assert defect in ("", *DEFECTS), defect
    dice = Dice(index)
    base = dice.numbers(50, 205, 3)
    image = base + _texture(dice, side)[:, :, None] + dice.numbers(-8, 8, side, side, 3)
    label = index % len(CLASSES)
    instances = np.zeros((side, side), np.uint8)
    boxes, classes, colors = [], [], []
    for number, (kind, place) in enumerate(_arrangement(dice, label, side), start=1):
        inside = _in_one_piece(SHAPES[CLASSES[kind]](*_coordinates(place, dice, side), place[2] * UNIT))
        color = _far_from(base, dice)
        image[inside] = color + dice.numbers(-10, 10, int(inside.sum()), 1)
        instances[inside] = number
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        boxes.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
        classes.append(kind)
        colors.append(color)
    hurt = _hurt(image, instances == 1, defect, Dice(index, 1)) if defect else np.zeros((side, side), bool)
    return Scene(
        image.clip(0, 255).astype(np.uint8),
        label,
        np.array([0, *(1 + kind for kind in classes)], np.uint8)[instances],
        instances,
        np.array(boxes, np.int64),
        np.array(classes, np.int64),
        np.array(colors, np.uint8),
        hurt,
    )


def _texture(dice: Dice, side: int) -> np.ndarray:
    """Return soft blotches of three sizes, int64 (side, side), in about -40..40."""
    total = np.zeros((side, side), np.int64)
    for cells, strength in ((3, 20), (6, 12), (13, 8)):
        knots = dice.numbers(-strength, strength, cells + 1, cells + 1)
        # Linear between knots, in integers.
        place = np.arange(side) * cells * 256 // side
        first, share = place // 256, place % 256
        rows = knots[first] * (256 - share)[:, None] + knots[first + 1] * share[:, None]
        total += (rows[:, first] * (256 - share) + rows[:, first + 1] * share) // 65536
    return total


def _arrangement(dice: Dice, label: int, side: int) -> list[tuple[int, tuple[int, int, int]]]:
    """Return class, and column, row and radius in pixels, of each shape: the largest first, then up to three small ones."""
    radius = dice.number(side * 7 // 32, side * 5 // 16)
    placed = [(label, (dice.number(radius + 1, side - radius - 2), dice.number(radius + 1, side - radius - 2), radius))]
    for _ in range(dice.number(0, 3)):
        kind, small = dice.number(0, len(CLASSES) - 1), dice.number(side // 13, side * 3 // 32)
        for _ in range(20):
            x, y = (dice.number(small + 1, side - small - 2) for _ in range(2))
            if all((x - left) ** 2 + (y - top) ** 2 > (small + other + 3) ** 2 for _, (left, top, other) in placed):
                placed.append((kind, (x, y, small)))
                break
    return placed


def _coordinates(place: tuple[int, int, int], dice: Dice, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates of all pixels in the frame of a randomly turned shape: along and across it, in pixels x UNIT."""
    x, y, _ = place
    across, along = dice.numbers(-99, 99, 2).tolist()
    length = isqrt(UNIT**2 * (across**2 + along**2)) or 1
    across, along = (UNIT**2 * across // length, UNIT**2 * along // length) if across or along else (UNIT, 0)
    rows, columns = np.arange(side)[:, None], np.arange(side)
    return (columns - x) * across + (rows - y) * along, (rows - y) * across - (columns - x) * along


def _in_one_piece(inside: np.ndarray) -> np.ndarray:
    """Return the largest connected part, since the tip of a star may be a pixel away from it."""
    import cv2

    _, parts, stats, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=8)
    return parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())


def _far_from(ground: np.ndarray, dice: Dice) -> np.ndarray:
    """Return a color that stands out from the ground."""
    while True:
        color = dice.numbers(15, 240, 3)
        if np.abs(color - ground).sum() >= LEAST_CONTRAST:
            return color


def _circle(u: np.ndarray, v: np.ndarray, r: int) -> np.ndarray:
    return u**2 + v**2 <= r**2


def _ring(u: np.ndarray, v: np.ndarray, r: int) -> np.ndarray:
    return (u**2 + v**2 <= r**2) & (4 * (u**2 + v**2) >= r**2)


def _square(u: np.ndarray, v: np.ndarray, r: int) -> np.ndarray:
    return 10 * np.maximum(abs(u), abs(v)) <= 7 * r


def _cross(u: np.ndarray, v: np.ndarray, r: int) -> np.ndarray:
    return (10 * np.minimum(abs(u), abs(v)) <= 3 * r) & (np.maximum(abs(u), abs(v)) <= r)


def _triangle(u: np.ndarray, v: np.ndarray, r: int) -> np.ndarray:
    return (2 * v <= r) & (1732 * abs(u) <= 1000 * (v + r))


def _star(u: np.ndarray, v: np.ndarray, r: int) -> np.ndarray:
    # Inside at least four of the five lines of a pentagram; the numbers are cosines and sines of fifths of a turn.
    lines = ((0, 1000), (951, 309), (588, -809), (-588, -809), (-951, 309))
    return np.sum([x * u + y * v <= 309 * r for x, y in lines], axis=0) >= 4


# Class -> whether the pixels at (u, v) belong to a shape of radius r.
SHAPES: Mapping[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = MappingProxyType(
    {"circle": _circle, "cross": _cross, "ring": _ring, "square": _square, "star": _star, "triangle": _triangle}
)


def _hurt(image: np.ndarray, shape: np.ndarray, defect: str, dice: Dice) -> np.ndarray:
    """Damage a shape, bool (H, W), in the image in place; return where."""
    rows, columns = np.nonzero(shape)
    reach = int(columns.max() - columns.min()) * UNIT
    where = np.zeros_like(shape)
    while where.sum() < LEAST_DEFECT:
        middle = dice.number(0, len(rows) - 1)
        u, v = _coordinates((int(columns[middle]), int(rows[middle]), 0), dice, len(shape))
        mark = (abs(u) * 2 <= reach) & (abs(v) <= UNIT) if defect == "scratch" else u**2 + 2 * v**2 <= (reach // 6) ** 2
        where = mark & shape
    # Towards the other end of the range, so that every pixel changes.
    bright = image[where].sum(1, keepdims=True) > 3 * 127
    image[where] = np.where(bright, image[where] - 110, image[where] + 110) + dice.numbers(-15, 15, int(where.sum()), 3)
    return where


def open_shapes(home: Path) -> Path:
    """Return the folder of the images, shapes/images below `home`, written at the first call.

    Next to it, masks/ and boxes/ have the targets, and defects/ the anomaly data.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = home / "shapes"
    if folder.is_dir():
        if not (folder / LABELS).is_file():
            # An earlier version did not write it.
            write_text(folder / LABELS, _table())
        return folder / "images"
    temporary = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        first = 0
        for split, count in COUNTS.items():
            _write_split(temporary, split, range(first, first + count * len(CLASSES)))
            first += count * len(CLASSES)
        (temporary / LABELS).write_text(_table(), encoding="utf-8")
        _write_defects(temporary / "defects", first)
        publish_folder(temporary, folder)
    except OSError as error:
        raise UserError(f"cannot write the shapes to {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder / "images"


def _table() -> str:
    """Return the table of the classes in masks."""
    return "id,name\n" + "".join(f"{number},{name}\n" for number, name in enumerate((GROUND, *CLASSES)))


def _write_split(root: Path, split: str, numbers: range) -> None:
    """Write images, masks, and boxes in the format of COCO, of the scenes with these numbers."""
    for folder in (root / "images" / split, root / "masks" / split):
        for name in CLASSES:
            (folder / name).mkdir(parents=True)
    images, annotations = [], []
    for number in numbers:
        made = scene(number)
        name = f"{CLASSES[made.label]}/{number:04d}.png"
        write_png(made.image, root / "images" / split / name)
        write_png(made.mask, root / "masks" / split / name)
        images.append({"id": number, "file_name": name, "height": made.image.shape[0], "width": made.image.shape[1]})
        areas = np.bincount(made.instances.ravel())[1:].tolist()
        for (left, top, right, bottom), kind, area in zip(made.boxes.tolist(), made.classes.tolist(), areas, strict=True):
            annotation = {"id": len(annotations) + 1, "image_id": number, "category_id": kind + 1, "iscrowd": 0}
            annotations.append({**annotation, "bbox": [left, top, right - left, bottom - top], "area": area})
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    place = root / "boxes" / f"{split}.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}), encoding="utf-8")


def _write_defects(root: Path, first: int) -> None:
    """Write the scenes from number `first` on in the layout of MVTec AD: train/good, test/<kind>, ground_truth/<kind>."""
    for split, count in GOOD.items():
        (root / split / "good").mkdir(parents=True)
        for number in range(first, first + count):
            write_png(scene(number).image, root / split / "good" / f"{number:04d}.png")
        first += count
    for kind in DEFECTS:
        for folder in ("test", "ground_truth"):
            (root / folder / kind).mkdir(parents=True)
        for number in range(first, first + DEFECTIVE):
            made = scene(number, defect=kind)
            write_png(made.image, root / "test" / kind / f"{number:04d}.png")
            write_png(np.where(made.defect, 255, 0).astype(np.uint8), root / "ground_truth" / kind / f"{number:04d}_mask.png")
        first += DEFECTIVE


def write_png(pixels: np.ndarray, path: Path) -> None:
    """Write uint8 (H, W) or (H, W, 3) as a PNG without compression, whose bytes depend on no library."""
    height, width = pixels.shape[:2]
    # Each line begins with its filter type; 0 is none.
    data = np.hstack((np.zeros((height, 1), np.uint8), pixels.reshape(height, -1))).tobytes()
    blocks = [data[start : start + 0xFFFF] for start in range(0, len(data), 0xFFFF)]
    stored = b"".join(struct.pack("<BHH", block is blocks[-1], len(block), 0xFFFF - len(block)) + block for block in blocks)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(data))), (b"IEND", b""))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks)
    )
