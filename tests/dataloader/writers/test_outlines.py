"""Outlines of a mask enclose its pixels exactly, and draw the same mask again."""

import cv2
import numpy as np

from dataloader.sources.polygons import Outline, draw
from dataloader.writers.outlines import LEAST_AREA, region_annotations


def drawn(annotations: list[dict], size: tuple[int, int]) -> np.ndarray:
    rings = [(each["category_id"] - 1, np.array(ring).reshape(-1, 2)) for each in annotations for ring in each["segmentation"]]
    return draw([Outline(number, (ring,)) for number, ring in rings], size)


def enclosed(ring: list[float]) -> float:
    """Return the area inside an outline by the shoelace formula; holes turn the other way round."""
    x, y = np.array(ring).reshape(-1, 2).T
    return abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())) / 2


def test_regions_with_and_without_holes_come_back() -> None:
    ids = np.zeros((40, 50), np.uint8)
    ids[5:15, 5:20] = 1
    ids[20:38, 20:48] = 2
    ids[25:30, 30:35] = 0
    ids[2, 45:48] = 2
    found = region_annotations(ids, 3, image_id=7, first=11, skip=0)
    assert [(each["id"], each["category_id"], each["area"]) for each in found] == [(11, 2, 150), (12, 3, 18 * 28 - 25)]
    assert [each["iscrowd"] for each in found] == [0, 0], "an object with a hole is no crowd"
    assert found[0]["bbox"] == [5, 5, 15, 10]
    assert found[0]["segmentation"] == [[5, 5, 5, 15, 20, 15, 20, 5]]
    ids[2, 45:48] = 0
    assert LEAST_AREA > 3
    np.testing.assert_array_equal(drawn(found, (40, 50)), ids)


def test_the_area_inside_an_outline_is_the_number_of_its_pixels_however_ragged() -> None:
    rng = np.random.default_rng(0)
    for blur in (0.4, 0.8, 1.6):
        noise = cv2.GaussianBlur(rng.random((60, 70)).astype(np.float32), (0, 0), blur)
        ids = (noise > np.quantile(noise, 0.3)).astype(np.uint8)
        found = region_annotations(ids, 2, image_id=1, first=1, skip=0)
        assert [enclosed(*each["segmentation"]) for each in found] == [each["area"] for each in found]
        again = drawn(found, ids.shape)
        assert not (again & ~ids).any()
        assert again.sum() == sum(each["area"] for each in found)
