"""Outlines of a mask draw the same mask again."""

import numpy as np

from dataloader.sources.polygons import Outline, draw
from dataloader.sources.run_lengths import run_lengths
from dataloader.writers.outlines import LEAST_AREA, region_annotations


def drawn(annotations: list[dict], size: tuple[int, int]) -> np.ndarray:
    outlines = []
    for each in annotations:
        shape = each["segmentation"]
        rings = () if isinstance(shape, dict) else tuple(np.array(ring).reshape(-1, 2) for ring in shape)
        outlines.append(Outline(each["category_id"] - 1, rings, run_lengths(shape, size) if isinstance(shape, dict) else None))
    return draw(outlines, size)


def test_regions_with_and_without_holes_come_back() -> None:
    ids = np.zeros((40, 50), np.uint8)
    ids[5:15, 5:20] = 1
    ids[20:38, 20:48] = 2
    ids[25:30, 30:35] = 0
    ids[2, 45:48] = 2
    found = region_annotations(ids, 3, image_id=7, first=11, skip=0)
    assert [(each["id"], each["category_id"], each["area"]) for each in found] == [(11, 2, 150), (12, 3, 18 * 28 - 25)]
    assert [each["iscrowd"] for each in found] == [0, 1], "a hole needs runs"
    assert found[0]["bbox"] == [5, 5, 15, 10]
    again = drawn(found, (40, 50))
    ids[2, 45:48] = 0
    assert LEAST_AREA > 3
    np.testing.assert_array_equal(again == 2, ids == 2)
    assert ((again == 1) != (ids == 1)).sum() <= 2 * (10 + 15), "half a pixel along the outline"
