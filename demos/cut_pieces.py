#!/usr/bin/env python3
"""Cut what a model has found out of its images, a file for each piece, so that the pieces can be sorted into folders by kind.

    python demos/cut_pieces.py runs/segment/NAME/predict/regions.json PIECES
    python demos/cut_pieces.py runs/anomaly/NAME/predict/defects.json PIECES --margin 1.0

It reads what --predict of a segmenter (regions.json) or of a detector of defects (defects.json) has written. A piece is a square around
the box, so that all of them can be classified at one size without being stretched. Needs Pillow.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

Box = tuple[float, float, float, float]


def found_boxes(content: dict[str, Any]) -> Iterator[tuple[str, list[Box]]]:
    """Yield the path of every image, and its boxes (left, top, width, height)."""
    if "annotations" in content:
        boxes: dict[int, list[Box]] = {image["id"]: [] for image in content["images"]}
        for region in content["annotations"]:
            boxes[region["image_id"]].append(tuple(region["bbox"]))
        yield from ((image["file_name"], boxes[image["id"]]) for image in content["images"])
    else:
        yield from ((image["path"], [tuple(region["box"]) for region in image["defects"]]) for image in content["images"])


def square(box: Box, size: tuple[int, int], *, margin: float, least: int) -> tuple[int, int, int, int]:
    """Return the square around a box, moved into an image of (width, height): left, top, right, bottom.

    Args:
        box: left, top, width, height.
        size: of the image. Where the square is larger, it ends at the border.
        margin: share of the longer side that is added around it.
        least: pixels of a side.
    """
    left, top, width, height = box
    side = max(least, round(max(width, height) * (1 + margin)))
    x, y = (
        max(0, min(round(start + length / 2 - side / 2), whole - side))
        for start, length, whole in zip((left, top), (width, height), size, strict=True)
    )
    return x, y, min(x + side, size[0]), min(y + side, size[1])


def main() -> int:
    """Cut the pieces; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path, help="regions.json or defects.json")
    parser.add_argument("out", type=Path, help="folder of the pieces; made where it is missing")
    parser.add_argument("--images", type=Path, help="folder of the images, where they are not at the paths of the file")
    parser.add_argument("--margin", type=float, default=0.5, help="share of the longer side that is added (0.5)")
    parser.add_argument("--least", type=int, default=32, help="least side of a piece in pixels (32)")
    options = parser.parse_args()
    try:
        content = json.loads(options.found.read_text(encoding="utf-8"))
        named = list(found_boxes(content))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"error: {options.found} is no regions.json or defects.json of --predict: {error!r}", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    pieces = 0
    for path, boxes in named:
        place = options.images / Path(path).name if options.images else Path(path)
        try:
            image = upright(place)
        except OSError as error:
            print(f"error: {place} cannot be read: {error}; name the folder of the images with --images", file=sys.stderr)
            return 2
        for number, box in enumerate(boxes, start=1):
            name, again = f"{place.stem}-{number}", 2
            while (options.out / f"{name}.png").exists():
                name, again = f"{place.stem}-{number}-{again}", again + 1
            image.crop(square(box, image.size, margin=options.margin, least=options.least)).save(options.out / f"{name}.png")
            pieces += 1
    print(f"pieces: {pieces}, of {len(named)} images, in {options.out}")
    return 0


def upright(path: Path) -> Image.Image:
    """Return an image in color, turned as its EXIF data says, to which the boxes belong."""
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


if __name__ == "__main__":
    raise SystemExit(main())
