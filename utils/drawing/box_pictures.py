"""Pictures of boxes: frames around objects, with a line of text each, and cut-outs."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from utils.drawing.lettering import Pen

# A frame is as wide as this share of the longer side, and a letter as high.
FRAME, LETTER = 1 / 250, 1 / 45
SMALLEST_LETTER = 10
DARK, LIGHT = (0, 0, 0), (255, 255, 255)


def framed(image: np.ndarray, corners: np.ndarray, colors: Sequence[Sequence[int]], texts: Sequence[str] = ()) -> np.ndarray:
    """Return an image, uint8 (H, W, 3), with frames; the first lie on top.

    Args:
        image: uint8 (H, W, 3).
        corners: left, top, right, bottom in pixels, (K, 4).
        colors: of each frame.
        texts: a line for each, in its frame's color; none without.
    """
    paper = Image.fromarray(image)
    canvas = ImageDraw.Draw(paper)
    longer = max(image.shape[:2])
    width = max(1, round(FRAME * longer))
    pen = Pen(canvas, max(SMALLEST_LETTER, round(LETTER * longer)))
    places = [(round(left), round(top), round(right), round(bottom)) for left, top, right, bottom in np.asarray(corners, float).tolist()]
    inks = [(int(red), int(green), int(blue)) for red, green, blue in colors]
    for (left, top, right, bottom), ink in zip(reversed(places), reversed(inks), strict=True):
        canvas.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=ink, width=width)
    # Behind all frames, none of which then crosses a letter.
    for number in reversed(range(len(texts))):
        if texts[number]:
            _write(pen, texts[number], places[number][:2], inks[number], image.shape[1])
    return np.asarray(paper)


def _write(pen: Pen, text: str, place: tuple[int, int], color: tuple[int, int, int], most: int) -> None:
    """Write a line above a frame, or inside where there is no room."""
    height = round(1.25 * pen.size)
    text = pen.cut(text, max(1, most))
    wide = round(pen.width(text)) + 4
    left = max(0, min(place[0], most - wide))
    top = place[1] - height if place[1] >= height else place[1]
    pen.canvas.rectangle((left, top, left + wide, top + height), fill=color)
    bright = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    pen.write((left + 2, top), text, fill=DARK if bright > 140 else LIGHT)


def cut_out(image: np.ndarray, corners: np.ndarray, *, margin: float = 0.0) -> np.ndarray:
    """Return the part of an image in a box, with a share of its size around it; at least one pixel."""
    height, width = image.shape[:2]
    left, top, right, bottom = (float(value) for value in corners)
    more_x, more_y = margin * (right - left), margin * (bottom - top)
    x0, y0 = (int(np.clip(np.floor(value), 0, limit - 1)) for value, limit in ((left - more_x, width), (top - more_y, height)))
    ends = ((right + more_x, x0, width), (bottom + more_y, y0, height))
    x1, y1 = (int(np.clip(np.ceil(value), start + 1, limit)) for value, start, limit in ends)
    return image[y0:y1, x0:x1]
