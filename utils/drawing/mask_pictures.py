"""Pictures of masks: colors of classes, masks laid over images, and where an answer is wrong."""

import colorsys
from pathlib import Path

import numpy as np
from PIL import Image

from utils.files import write_atomically

# A turn of the hue by the golden ratio keeps any number of neighbors apart.
_TURN = 0.618034
_LEVELS = ((0.75, 0.90), (0.55, 0.65), (0.90, 0.75))
OPACITY = 0.5
RIGHT, WRONG, UNKNOWN = (214, 220, 214), (200, 30, 30), (0, 0, 0)
INK = (255, 255, 255)


def class_colors(count: int) -> np.ndarray:
    """Return a color for every class, uint8 (count, 3)."""
    colors = [colorsys.hsv_to_rgb((0.05 + _TURN * number) % 1, *_LEVELS[number % len(_LEVELS)]) for number in range(count)]
    return np.rint(255 * np.array(colors).reshape(-1, 3)).astype(np.uint8)


def painted(ids: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Return a mask, integers (H, W), in the colors of its classes, uint8 (H, W, 3); other numbers are black."""
    table = np.zeros((max(256, len(colors)), 3), np.uint8)
    table[: len(colors)] = colors
    return table[ids]


def laid_over(image: np.ndarray, ids: np.ndarray, colors: np.ndarray, *, opacity: float = OPACITY) -> np.ndarray:
    """Return an image, uint8 (H, W, 3), with a mask (H, W) over it, and the borders of its regions; numbers without a color stay clear."""
    mixed = image * (1 - opacity) + painted(ids, colors) * opacity
    mixed[ids >= len(colors)] = image[ids >= len(colors)]
    edge = np.zeros(ids.shape, bool)
    edge[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    edge[1:] |= ids[1:] != ids[:-1]
    mixed[edge] = INK
    return mixed.round().astype(np.uint8)


def error_map(truth: np.ndarray, answer: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return where an answer is wrong, uint8 (H, W, 3): red; what is not known is black."""
    picture = np.where((truth == answer)[..., None], np.array(RIGHT, np.uint8), np.array(WRONG, np.uint8))
    picture[~known] = UNKNOWN
    return picture


def beside_one_another(pictures: list[np.ndarray], *, gap: int = 4) -> np.ndarray:
    """Return pictures of one size, uint8 (H, W, 3), in a row."""
    padded = [np.pad(each, ((0, 0), (0, gap), (0, 0)), constant_values=255) for each in pictures]
    return np.concatenate(padded, axis=1)[:, :-gap]


def mask_image(ids: np.ndarray, colors: np.ndarray) -> Image.Image:
    """Return a mask, uint8 (H, W), as an image of class numbers that shows in the colors of its classes."""
    image = Image.fromarray(ids, mode="P")
    image.putpalette(np.concatenate([colors, np.zeros((256 - len(colors), 3), np.uint8)]).astype(np.uint8).tobytes())
    return image


def write_mask(ids: np.ndarray, colors: np.ndarray, path: Path) -> None:
    """Write the `mask_image` of a mask as a PNG."""
    image = mask_image(ids, colors)
    write_atomically(path, lambda place: image.save(place, "PNG"))
