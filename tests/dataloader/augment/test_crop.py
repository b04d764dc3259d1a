"""Cropping an image."""

import numpy as np

from dataloader.augment.crop import Crop, crop_box
from dataloader.sample import Sample
from dataloader.targets.label import Label
from utils.randomness import numpy_rng

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_crop_box_is_a_rectangle():
    assert np.array_equal(crop_box(IMAGE, top=2, left=3, height=4, width=5), IMAGE[2:6, 3:8])


def test_crop_keeps_a_rectangle_within_its_share():
    shapes, corners = set(), set()
    for draw in range(200):
        image = Crop(0.5, p=1.0)(Sample(IMAGE, Label(0)), numpy_rng(draw)).image
        height, width = image.shape[:2]
        assert 10 <= height <= 20
        assert 15 <= width <= 30
        windows = np.lib.stride_tricks.sliding_window_view(IMAGE, (height, width, 3))[:, :, 0]
        places = np.argwhere((windows == image).all(axis=(2, 3, 4)))
        assert len(places) == 1
        shapes.add((height, width))
        corners.add(tuple(places[0]))
    assert len(shapes) > 50
    assert {top for top, _ in corners} >= set(range(8))
    assert {left for _, left in corners} >= set(range(12))
