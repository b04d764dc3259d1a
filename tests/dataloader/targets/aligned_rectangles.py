"""A colored rectangle on a ground, with its mask and its box, and what it means that they lie on each other."""

from dataclasses import replace

import cv2
import numpy as np

from dataloader.targets.boxes import Boxes
from dataloader.targets.mask import Mask

GROUND, COLOR = np.array([[40, 60, 90], [220, 180, 30]], dtype=np.uint8)
Rectangle = tuple[int, int, int, int]


def paint(size: tuple[int, int], rectangle: Rectangle) -> tuple[np.ndarray, Mask, Boxes]:
    """Return an image (H, W, 3) of a `rectangle` of left, top, right, bottom, its mask, and its box, which is never dropped."""
    left, top, right, bottom = rectangle
    ids = np.zeros(size, dtype=np.uint8)
    ids[top:bottom, left:right] = 1
    image = np.where(ids[..., None] == 1, COLOR, GROUND)
    return image, Mask(ids), Boxes(np.array([rectangle], dtype=np.float32), np.array([1]), size, least_visible=0.0)


def purified(mask: Mask, radius: int = 1) -> Mask:
    """Return the mask with all pixels ignored that have another class, or the end of the image, within `radius` pixels."""
    kernel = np.ones((2 * radius + 1,) * 2, dtype=np.uint8)
    around = np.pad(mask.ids, radius, constant_values=mask.ignore)
    pure = (cv2.erode(around, kernel) == cv2.dilate(around, kernel))[radius:-radius, radius:-radius]
    return replace(mask, ids=np.where(pure, mask.ids, mask.ignore))


def misplaced(image: np.ndarray, mask: Mask, tolerance: int = 2) -> int:
    """Return how many pixels, of those that the mask knows, have not the color of their class."""
    expected = np.where(mask.ids[..., None] == 1, COLOR, GROUND).astype(int)
    wrong = (np.abs(image.astype(int) - expected) > tolerance).any(-1)
    return int((wrong & (mask.ids != mask.ignore)).sum())


def told_apart(image: np.ndarray, mask: Mask) -> float:
    """Return the share of pixels that look like their own class rather than the other one, whatever was done to the colors.

    A pixel looks like the class to whose median color it is nearer; the lower share of the two classes counts.
    """
    classes = [image[mask.ids == number].astype(float) for number in (0, 1)]
    if min(map(len, classes)) == 0:
        return 1.0
    medians = [np.median(pixels, axis=0) for pixels in classes]
    shares = []
    for number, pixels in enumerate(classes):
        own, other = (np.abs(pixels - medians[each]).sum(1) for each in (number, 1 - number))
        shares.append((own < other).mean())
    return float(min(shares))


def off_center(image: np.ndarray, mask: Mask, boxes: Boxes) -> float:
    """Return the distance in pixels between the center of what is colored and that of the target, to parts of a pixel.

    The center is that of the box where the object fills it, else that of the pixels of class 1. 0 where the image has other colors
    than before, or where not all of the object is to be seen.
    """
    inside = image[purified(mask).ids == 1]
    if len(inside) == 0 or is_cut(mask) or np.abs(np.median(inside, axis=0) - COLOR).max() > 2:
        return 0.0
    way = COLOR.astype(float) - GROUND
    share = ((image.astype(float) - GROUND) @ way / (way @ way)).clip(0, 1)
    left, top, right, bottom = box_of(mask.ids)
    if (mask.ids[top:bottom, left:right] == 1).all():
        expected = boxes.corners[0].reshape(2, 2).mean(0)[::-1]
    else:
        expected = np.argwhere(mask.ids == 1).mean(0) + 0.5
    center = [np.average(axis, weights=share) + 0.5 for axis in np.indices(share.shape)]
    return float(np.abs(center - expected).max())


def is_cut(mask: Mask) -> bool:
    """Whether the object reaches the border of what is known, so that a part of it may be outside."""
    left, top, right, bottom = box_of(mask.ids)
    around = np.pad(mask.ids, 1, constant_values=mask.ignore)[top : bottom + 2, left : right + 2]
    return bool((around == mask.ignore).any())


def box_of(ids: np.ndarray) -> list[int]:
    """Return left, top, right and bottom of the pixels of class 1."""
    rows, columns = np.nonzero(ids == 1)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
