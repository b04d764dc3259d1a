"""Masks drawn from outlines: the text files of YOLO ("class x1 y1 x2 y2 ...", in shares of the image), and COCO's JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from dataloader.images.read import upright_size
from dataloader.sources.run_lengths import fill_runs, run_lengths
from dataloader.targets.mask import IGNORE, Mask
from dataloader.targets.plane_change import Size
from utils.errors import UserError

BACKGROUND = "background"


class Outline(NamedTuple):
    """An object: its class, and what it covers.

    Attributes:
        number: of its class, IGNORE for what counts for nothing; with runs these are crowds.
        rings: outlines, float (K, 2) of x and y in pixels; those inside others cut holes where COCO gives several parts they add up.
        runs: lengths of runs instead, int64 (K,), as COCO has them.
    """

    number: int
    rings: tuple[np.ndarray, ...] = ()
    runs: np.ndarray | None = None

    def area(self) -> float:
        """Return about how many pixels it covers; a crowd lies below everything, so it counts as endless."""
        if self.runs is not None:
            return float("inf") if self.number == IGNORE else float(self.runs[1::2].sum())
        return sum(abs(cv2.contourArea(ring.astype(np.float32))) for ring in self.rings)


def draw(outlines: Sequence[Outline], size: Size) -> np.ndarray:
    """Return the classes of the pixels, uint8 (H, W): 0 outside all outlines; smaller objects lie on larger ones."""
    ids = np.zeros(size, np.uint8)
    for outline in sorted(outlines, key=Outline.area, reverse=True):
        if outline.runs is not None:
            ids[fill_runs(outline.runs, size)] = outline.number
        for ring in outline.rings:
            fill(ids, ring, outline.number)
    return ids


def fill(ids: np.ndarray, ring: np.ndarray, number: int) -> None:
    """Give the pixels whose centers lie inside an outline a number; where it crosses itself, by the even-odd rule.

    A drawing library would fill the pixels that the outline touches, too: half a pixel more all around.

    Args:
        ids: integers (H, W), changed in place.
        ring: float (K, 2) of x and y in pixels, whose edges are at whole numbers.
        number: to write.
    """
    height, width = ids.shape
    (left, top), (right, bottom) = np.floor(ring.min(0)), np.ceil(ring.max(0))
    left, right = (int(np.clip(each, 0, width)) for each in (left, right))
    top, bottom = (int(np.clip(each, 0, height)) for each in (top, bottom))
    if left >= right or top >= bottom:
        return
    start, end = ring, np.roll(ring, -1, axis=0)
    # The rows whose centers an edge crosses: its lower end belongs to it, its upper end does not.
    first = np.clip(np.ceil(np.minimum(start[:, 1], end[:, 1]) - 0.5), top, bottom).astype(np.int64)
    rows = np.clip(np.ceil(np.maximum(start[:, 1], end[:, 1]) - 0.5), top, bottom).astype(np.int64) - first
    edge = np.repeat(np.arange(len(ring)), rows)
    row = np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows, rows) + first[edge]
    slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
    x = start[edge, 0] + (row + 0.5 - start[edge, 1]) * slope
    column = np.clip(np.ceil(x - 0.5), left, right).astype(np.int64)
    wide = right - left + 1
    crossings = np.bincount((row - top) * wide + column - left, minlength=(bottom - top) * wide).reshape(-1, wide)[:, :-1]
    inside = np.cumsum(crossings, axis=1, dtype=np.uint32) & 1
    ids[top:bottom, left:right][inside.astype(bool)] = number


@dataclass(frozen=True)
class YoloPolygons:
    """The truths of images whose outlines are in text files.

    Attributes:
        root: of the images, and of the files.
        files: image -> its text file, both below the root.
        classes: 'background', then the names of the data set.
        numbers: class in a text file -> number of the class, or IGNORE.
    """

    root: Path
    files: Mapping[str, str]
    classes: tuple[str, ...]
    numbers: Mapping[int, int]

    def read(self, path: str) -> Mask:
        """Return the mask of an image.

        Raises:
            ImageError: the image cannot be read.
            UserError: a line of the file cannot be used.
        """
        size = upright_size(self.root / path)
        outlines = read_yolo(self.root / self.files[path], size, self.numbers) if path in self.files else []
        return Mask(draw(outlines, size))

    def nothing(self) -> Mask:
        """Return a mask of one unlabeled pixel."""
        return Mask(np.full((1, 1), IGNORE, np.uint8))

    def count(self, paths: Sequence[str]) -> np.ndarray:
        """Return the pixels of every class in the masks of some images, int64 (C,)."""
        return _counted(self.read, paths, len(self.classes))


def read_yolo(file: Path, size: Size, numbers: Mapping[int, int]) -> list[Outline]:
    """Return the outlines of a text file for an image of (H, W) `size`.

    Args:
        file: a line for each outline.
        size: of the image.
        numbers: class in the file -> number of the class, or IGNORE.

    Raises:
        UserError: a line is no outline, or its class has no name.
    """
    found = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error
    for place, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = np.array(line.split(), np.float64)
        except ValueError as error:
            raise UserError(f"{file}, line {place}: '{line[:40]}' is no row of numbers; write class x1 y1 x2 y2 x3 y3 ...") from error
        if len(values) == 5:
            raise UserError(f"{file}, line {place}: it holds a box, not an outline; segmentation needs class x1 y1 x2 y2 x3 y3 ...")
        if len(values) < 7 or len(values) % 2 == 0 or not np.isfinite(values).all() or values[1:].min() < -0.5 or values[1:].max() > 1.5:
            raise UserError(f"{file}, line {place}: write class x1 y1 x2 y2 x3 y3 ..., in shares of the image from 0 to 1")
        number = numbers.get(values[0])
        if number is None:
            raise UserError(
                f"{file}, line {place}: the class is {values[0]:g}, which has no name; add it to data.yaml, or to the table of names"
            )
        found.append(Outline(number, (values[1:].reshape(-1, 2) * (size[1], size[0]),)))
    return found


@dataclass(frozen=True)
class CocoPolygons:
    """The truths of images whose outlines are in COCO's JSON.

    Attributes:
        outlines: image -> its objects; an image without any shows the background alone.
        sizes: image -> (H, W).
        classes: 'background', then the categories by their ids.
    """

    outlines: Mapping[str, tuple[Outline, ...]]
    sizes: Mapping[str, Size] = field(default_factory=dict)
    classes: tuple[str, ...] = ()

    def read(self, path: str) -> Mask:
        """Return the mask of an image."""
        return Mask(draw(self.outlines.get(path, ()), self.sizes[path]))

    def nothing(self) -> Mask:
        """Return a mask of one unlabeled pixel."""
        return Mask(np.full((1, 1), IGNORE, np.uint8))

    def count(self, paths: Sequence[str]) -> np.ndarray:
        """Return the pixels of every class in the masks of some images, int64 (C,)."""
        return _counted(self.read, paths, len(self.classes))


def read_coco_polygons(file: Path) -> CocoPolygons:
    """Return the outlines of a file, by the names of its images. Crowds are not counted.

    Raises:
        UserError: it cannot be read, is not in this format, or an object has no outline, or one that cannot be drawn.
    """
    try:
        content = json.loads(file.read_bytes())
        categories = sorted(content["categories"], key=lambda each: each["id"])
        numbers = {each["id"]: 1 + number for number, each in enumerate(categories)}
        found: dict[Any, list[Outline]] = {image["id"]: [] for image in content["images"]}
        of_image = {image["id"]: (int(image["height"]), int(image["width"])) for image in content["images"]}
        for each in content.get("annotations", ()):
            image, number = each["image_id"], IGNORE if each.get("iscrowd") else numbers[each["category_id"]]
            found[image].append(_outline(each, number, of_image[image], file))
        outlines = {str(image["file_name"]): tuple(found[image["id"]]) for image in content["images"]}
        sizes = {str(image["file_name"]): of_image[image["id"]] for image in content["images"]}
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from error
    except KeyError as error:
        raise UserError(f"{file} is not in the format of COCO: it has no {error} where one is needed") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is not in the format of COCO: {error}") from error
    return CocoPolygons(outlines, sizes, (BACKGROUND, *(str(each["name"]) for each in categories)))


def _outline(annotation: Mapping[str, Any], number: int, size: Size, file: Path) -> Outline:
    """Return the outline of an annotation of an image of (H, W) `size`, in a form that can be drawn.

    Raises:
        UserError: it has none, or one that cannot be used.
    """
    shape, where = annotation.get("segmentation"), f"{file}: annotation {annotation.get('id')}"
    try:
        if isinstance(shape, dict):
            return Outline(number, runs=run_lengths(shape, size))
        rings = tuple(np.array(ring, np.float64).reshape(-1, 2) for ring in shape or () if len(ring))
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{where} has a segmentation that cannot be drawn: {error}; mend it, or remove it") from error
    if not rings:
        raise UserError(f"{where} has a box but no segmentation, which --task segment needs")
    return Outline(number, rings)


def _counted(read: Any, paths: Sequence[str], classes: int) -> np.ndarray:
    total = np.zeros(IGNORE + 1, np.int64)
    for path in paths:
        total += np.bincount(read(path).ids.ravel(), minlength=IGNORE + 1)
    return total[:classes]
