"""Pictures of pictures: thumbnails, sheets of captioned images, and images inside a page."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from utils.drawing.lettering import Pen
from utils.files import write_atomically

# Font size of captions in pixels; it grows with the cell, since a page shows large cells smaller.
FONT_SIZE = 13
SIDE_OF_FONT = 12
GAP = 10
# Opacity of the overlay where the heat is greatest.
HEAT_OPACITY = 0.65
# The last colors of the map are nearly black.
HOTTEST = 225
PAPER, INK = (255, 255, 255), (40, 40, 40)


def thumbnail(image: np.ndarray, side: int) -> np.ndarray:
    """Return the image, uint8 (H, W, 3), scaled so that its longer side is at most `side` pixels; small images stay as they are."""
    picture = Image.fromarray(image)
    picture.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(picture)


def enlarged(image: np.ndarray, side: int) -> np.ndarray:
    """Return a tiny image, uint8 (H, W, 3), with every pixel repeated until its longer side nears `side`, so that a person can see it."""
    times = max(1, side // max(image.shape[:2]))
    return np.repeat(np.repeat(image, times, axis=0), times, axis=1)


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay heat over an image: the warmer a place, the redder and the more opaque; where there is none, the image is as it was.

    Args:
        image: uint8 (H, W, 3).
        heat: (h, w) in 0..1, of any size; it is stretched over the image.
    """
    import cv2

    height, width = image.shape[:2]
    large = cv2.resize(heat.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    colors = cv2.applyColorMap((HOTTEST * large).round().astype(np.uint8), cv2.COLORMAP_TURBO)[:, :, ::-1]
    opacity = HEAT_OPACITY * np.sqrt(large)[:, :, None]
    return (image * (1 - opacity) + colors * opacity).round().astype(np.uint8)


def data_uri(image: np.ndarray, *, quality: int = 82) -> str:
    """Return the image, uint8 (H, W, 3), as a JPEG inside a 'data:' address, for a page without other files."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def png_uri(image: Image.Image) -> str:
    """Return the image as a PNG inside a 'data:' address, with its palette where it has one."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def file_uri(path: Path) -> str:
    """Return a PNG file as a 'data:' address."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def write_png(image: np.ndarray, path: Path) -> None:
    """Write the image, uint8 (H, W, 3), as a PNG, atomically."""
    write_atomically(path, lambda place: Image.fromarray(image).save(place, "PNG"))


def sheet(images: Sequence[np.ndarray], captions: Sequence[str], *, columns: int, side: int) -> np.ndarray:
    """Return images in rows, each with its caption below, uint8 (H, W, 3).

    Args:
        images: uint8 (h, w, 3) of any sizes; shown at most `side` pixels large, tiny ones enlarged.
        captions: a text for each; lines are split at newlines and cut at the width of the column.
        columns: images a row.
        side: width and height of a cell without its caption, in pixels.
    """
    assert len(images) == len(captions) > 0, "a caption an image"
    size = max(FONT_SIZE, side // SIDE_OF_FONT)
    line_height = round(1.3 * size)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    text_height = line_height * max(caption.count("\n") + 1 for caption in captions) + 4
    cell_width, cell_height = side + GAP, side + text_height + GAP
    paper = Image.new("RGB", (columns * cell_width + GAP, rows * cell_height + GAP), PAPER)
    pen = Pen(ImageDraw.Draw(paper), size)
    for number, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left = GAP + number % columns * cell_width
        top = GAP + number // columns * cell_height
        picture = Image.fromarray(enlarged(thumbnail(image, side), side))
        paper.paste(picture, (left + (side - picture.width) // 2, top + (side - picture.height) // 2))
        for line, text in enumerate(caption.split("\n")):
            pen.write((left, top + side + 4 + line * line_height), pen.cut(text, side), fill=INK)
    return np.asarray(paper)
