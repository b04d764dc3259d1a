"""Outlines of the regions in a mask, as COCO's JSON holds them."""

from typing import Any

import cv2
import numpy as np

# Smaller regions are noise, and would fill the file.
LEAST_AREA = 10


def region_annotations(ids: np.ndarray, classes: int, *, image_id: int, first: int, skip: int = 0) -> list[dict[str, Any]]:
    """Return an annotation for every connected region of a mask.

    Regions with holes are given as runs of pixels, which COCO takes in the place of outlines, so that no hole is filled.

    Args:
        ids: classes, uint8 (H, W); numbers from `classes` on are no class.
        classes: how many there are.
        image_id: of the image.
        first: id of the first annotation.
        skip: the class of the background, whose regions are not wanted; -1 skips none.
    """
    from dataloader.sources.run_lengths import encode_runs

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
            rings = _rings(part, left, top)
            if rings is None:
                whole = np.zeros(ids.shape, bool)
                whole[top : top + height, left : left + width] = part
            shape: Any = encode_runs(whole) if rings is None else rings
            found.append(
                {
                    "id": first + len(found), "image_id": image_id, "category_id": number + 1, "iscrowd": int(rings is None), "area": area,
                    "bbox": [left, top, width, height], "segmentation": shape,
                }
            )  # fmt: skip
    return found


def _rings(part: np.ndarray, left: int, top: int) -> list[list[float]] | None:
    """Return the outline of a region along the outer edges of its pixels, x and y in turn; None where it has holes."""
    # Twice as large, so that the outline through the centers of border pixels is half a pixel from the edges.
    large = np.pad(np.kron(part.astype(np.uint8), np.ones((2, 2), np.uint8)), 1)
    rings, levels = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if any(level[3] >= 0 for level in levels[0]):
        return None
    # The center of the small pixel (i, j) lies at ((j - 1) + 0.5) / 2 of the region.
    found = [((ring.reshape(-1, 2) - 0.5) / 2 + (left, top)).ravel().round(2).tolist() for ring in rings]
    return [ring for ring in found if len(ring) >= 6]
