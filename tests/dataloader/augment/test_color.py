"""Brightness, contrast and saturation."""

import numpy as np
import pytest

from dataloader.augment.color import Color, adjust_brightness, adjust_contrast, adjust_saturation
from dataloader.sample import Sample
from dataloader.targets.label import Label
from utils.randomness import numpy_rng

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
GRAY = IMAGE @ np.array([0.299, 0.587, 0.114])


def near(image: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.abs(image.astype(float) - np.clip(expected, 0, 255)).max() <= 1)


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
