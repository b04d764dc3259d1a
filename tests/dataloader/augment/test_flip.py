"""Mirroring an image."""

import numpy as np

from dataloader.augment.flip import Flip, flip_horizontal
from dataloader.sample import Sample
from dataloader.targets.label import Label
from utils.randomness import numpy_rng

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_flip_mirrors_left_and_right():
    assert np.array_equal(flip_horizontal(IMAGE), IMAGE[:, ::-1])


def test_flip_happens_as_often_as_said():
    flips = sum(not np.array_equal(Flip(0.25)(Sample(IMAGE, Label(0)), numpy_rng(draw)).image, IMAGE) for draw in range(400))
    assert 70 < flips < 130
