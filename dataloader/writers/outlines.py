"""Outlines of the regions in a mask, as COCO's JSON holds them."""

from typing import Any

import cv2
import numpy as np

# Smaller regions are noise, and would fill the file.
LEAST_AREA = 10


def region_annotations(ids: np.ndarray, classes: int, *, image_id: int, first: int, skip: int = 0) -> list[dict[str, Any]]:
    """Return an annotation for every connected region of a mask.

    Outlines follow the edges of the pixels, so that they enclose exactly the pixels of `area`. COCO has no holes in outlines, and runs of
    pixels, which it reads as crowds, are not what most programs draw: a hole is joined to the outline by a cut of no width.

    Args:
        ids: classes, uint8 (H, W); numbers from `classes` on are no class.
        classes: how many there are.
        image_id: of the image.
        first: id of the first annotation.
        skip: the class of the background, whose regions are not wanted; -1 skips none.
    """
    found: list[dict[str, Any]] = []
    for number in range(classes):
        if number == skip or not (inside := ids == number).any():
            continue
        count, regions, stats, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=8)
        for region in range(1, count):
            left, top, width, height, area = stats[region].tolist()
            if area < LEAST_AREA:
                continue
            part = regions[top : top + height, left : left + width] == region
            ring = _joined(_rings(part)) + np.array((left, top))
            found.append(
                {
                    "id": first + len(found), "image_id": image_id, "category_id": number + 1, "iscrowd": 0, "area": area,
                    "bbox": [left, top, width, height], "segmentation": [ring.ravel().tolist()],
                }
            )  # fmt: skip
    return found


def _rings(part: np.ndarray) -> list[np.ndarray]:
    """Return the outline of a connected region, bool (h, w), and then those of its holes: corners, float (K, 2) of x and y."""
    # Twice as large: each of the four parts of a pixel on the border lies at the corner of the pixel that the outline passes.
    large = np.pad(np.kron(part.astype(np.uint8), np.ones((2, 2), np.uint8)), 1)
    contours, levels = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = [_corners(contour.reshape(-1, 2) // 2) for contour in contours]
    order = sorted(range(len(rings)), key=lambda place: levels[0][place][3] >= 0)
    return [rings[place] for place in order]


def _corners(path: np.ndarray) -> np.ndarray:
    """Return the points of a closed path of single steps, integers (K, 2), at which it turns."""
    path = path[(path != np.roll(path, 1, axis=0)).any(1)]
    before, after = path - np.roll(path, 1, axis=0), np.roll(path, -1, axis=0) - path
    return path[(before != after).any(1)].astype(np.float64)


def _joined(rings: list[np.ndarray]) -> np.ndarray:
    """Return the one ring of an outline and its holes: each is reached by a cut to the left, there and back, from its leftmost edge."""
    ring, *holes = rings
    for hole in sorted(holes, key=lambda corners: corners[:, 0].min()):
        following = np.roll(hole, -1, axis=0)
        upright = np.flatnonzero(hole[:, 0] == following[:, 0])
        edge = upright[hole[upright, 0].argmin()]
        # Through the middle of a row of pixels, where no corner is in the way.
        x, y = hole[edge, 0], min(hole[edge, 1], following[edge, 1]) + 0.5
        ends = np.roll(ring, -1, axis=0)
        met = np.flatnonzero((ring[:, 0] == ends[:, 0]) & ((ring[:, 1] > y) != (ends[:, 1] > y)) & (ring[:, 0] < x))
        place = met[ring[met, 0].argmax()]
        cut = np.array([[ring[place, 0], y], [x, y]])
        ring = np.concatenate([ring[: place + 1], cut, np.roll(hole, -(edge + 1), axis=0), cut[::-1], ring[place + 1 :]])
    return ring
