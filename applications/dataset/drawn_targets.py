"""DRAWN: how the targets of images are drawn on them, by their kind; those without a row are words below the image."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from torch import Tensor

from dataloader.sample import Batch, Targets
from dataloader.targets.boxes import BoxBatch, Boxes
from dataloader.targets.mask import Mask
from dataloader.targets.target import Target
from utils.drawing.box_pictures import framed
from utils.drawing.mask_pictures import class_colors, laid_over

# Side of the cells of a sheet.
SIDE = 128
# That of images with boxes, and their own least side, so that the names can be read.
BOX_SIDE = 320
GRAY = (128, 128, 128)


def pictures_of(batch: Batch, target: type[Target], classes: Sequence[str]) -> list[np.ndarray]:
    """Return the images of a batch, uint8 (H, W, 3) each, with their targets on them where these can be drawn."""
    images = pixels_of(batch.images)
    if target not in DRAWN:
        return images
    return [DRAWN[target].draw(image, batch.targets, row, classes) for row, image in enumerate(images)]


def side_of(target: type[Target]) -> int:
    """Return the side of the cells of a sheet."""
    return DRAWN[target].side if target in DRAWN else SIDE


def with_mask(image: np.ndarray, targets: Targets, row: int, classes: Sequence[str]) -> np.ndarray:
    """Return the image with the colors of the classes over it."""
    assert isinstance(targets, Tensor)
    return laid_over(image, targets[row].numpy(), class_colors(len(classes)))


def with_boxes(image: np.ndarray, targets: Targets, row: int, classes: Sequence[str]) -> np.ndarray:
    """Return the image enlarged if it is small, with frames and the names of their classes; crowds are gray."""
    assert isinstance(targets, BoxBatch)
    colors, times = class_colors(len(classes)), max(1, BOX_SIDE // max(image.shape[:2]))
    rows = targets.rows(row)
    corners, numbers, crowd = (each[rows].numpy() for each in (targets.corners, targets.classes, targets.crowd))
    texts = [f"{classes[number]}{' (crowd)' if many else ''}" for number, many in zip(numbers, crowd, strict=True)]
    paints = [GRAY if many else tuple(colors[number].tolist()) for number, many in zip(numbers, crowd, strict=True)]
    return framed(np.repeat(np.repeat(image, times, 0), times, 1), times * corners, paints, texts)


def pixels_of(images: Tensor) -> list[np.ndarray]:
    """Return the images of a batch, uint8 or float in 0..255, as uint8 (H, W, 3) each."""
    return (
        list(images.round().byte().permute(0, 2, 3, 1).numpy()) if images.is_floating_point() else list(images.permute(0, 2, 3, 1).numpy())
    )


class Drawing(NamedTuple):
    """How targets of a kind are drawn.

    Attributes:
        draw: called with an image, uint8 (H, W, 3), the targets of its batch, its place there and the names of the classes.
        side: of the cells of a sheet, in pixels.
    """

    draw: Callable[[np.ndarray, Targets, int, Sequence[str]], np.ndarray]
    side: int = SIDE


DRAWN: Mapping[type[Target], Drawing] = MappingProxyType({Mask: Drawing(with_mask), Boxes: Drawing(with_boxes, BOX_SIDE)})
