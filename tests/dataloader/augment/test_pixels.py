"""What each augmentation does to pixels."""

import numpy as np
import pytest

from dataloader.augment.color import Color, adjust_brightness, adjust_contrast, adjust_saturation
from dataloader.augment.crop import Crop, crop_box
from dataloader.augment.flip import Flip, flip_horizontal
from dataloader.sample import Sample
from dataloader.targets.label import Label
from utils.randomness import numpy_rng

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
GRAY = IMAGE @ np.array([0.299, 0.587, 0.114])


def near(image: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.abs(image.astype(float) - np.clip(expected, 0, 255)).max() <= 1)


def test_flip_mirrors_left_and_right():
    assert np.array_equal(flip_horizontal(IMAGE), IMAGE[:, ::-1])


def test_flip_happens_as_often_as_said():
    flips = sum(not np.array_equal(Flip(0.25)(Sample(IMAGE, Label(0)), numpy_rng(draw)).image, IMAGE) for draw in range(400))
    assert 70 < flips < 130


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


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.4])
def test_brightness_multiplies(factor):
    assert near(adjust_brightness(IMAGE, factor), IMAGE * factor)


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.4])
def test_contrast_pulls_to_the_mean_gray(factor):
    assert near(adjust_contrast(IMAGE, factor), GRAY.mean() + factor * (IMAGE - GRAY.mean()))


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.4])
def test_saturation_pulls_to_the_gray_of_each_pixel(factor):
    assert near(adjust_saturation(IMAGE, factor), GRAY[..., None] + factor * (IMAGE - GRAY[..., None]))


def test_color_of_strength_zero_changes_nothing():
    assert np.array_equal(Color(0.0, p=1.0)(Sample(IMAGE, Label(0)), numpy_rng(0)).image, IMAGE)


def test_color_takes_views():
    view = IMAGE[3:17, 5:25]
    draws = [Color(p=1.0)(Sample(image, Label(0)), numpy_rng(1)).image for image in (view, view.copy())]
    assert np.array_equal(*draws)
