"""Rotating an image."""

import numpy as np

from dataloader.augment.rotate import rotate_image

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_a_quarter_turn_of_a_square_is_exact():
    square = IMAGE[:, :20].copy()
    assert np.abs(rotate_image(square, 90).astype(int) - np.rot90(square).astype(int)).max() <= 1
    assert np.array_equal(rotate_image(IMAGE, 0), IMAGE)
