import numpy as np
import pytest

from dataloader.augment.chain import build_augment
from dataloader.augment.resized_crop import ResizedCrop, draw_box
from dataloader.sample import Sample
from dataloader.targets.label import Label
from utils.errors import UserError
from utils.randomness import numpy_rng

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)


def test_boxes_have_the_area_and_the_shape_that_was_asked_for():
    areas, forms = [], []
    for draw in range(400):
        top, left, height, width = draw_box((200, 300), numpy_rng(draw), scale=(0.2, 0.5), ratio=(0.5, 2.0))
        assert 0 <= top <= 200 - height
        assert 0 <= left <= 300 - width
        areas.append(height * width / 60000)
        forms.append(np.log(width / height))
    assert 0.19 < min(areas) < 0.25 < 0.45 < max(areas) < 0.51
    assert -0.72 < min(forms) < -0.5 < 0.5 < max(forms) < 0.72


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 4)])
def test_a_box_of_an_extreme_image_is_inside(shape):
    for draw in range(30):
        top, left, height, width = draw_box(shape, numpy_rng(draw), scale=(0.08, 1.0), ratio=(0.75, 4 / 3))
        assert 0 <= top < top + height <= shape[0]
        assert 0 <= left < left + width <= shape[1]


def test_the_result_has_the_size_that_the_network_sees():
    chain = build_augment("flip|resized_crop((0.3, 1))").at((32, 24))
    assert chain(Sample(IMAGE, Label(0)), numpy_rng(0)).image.shape == (32, 24, 3)
    assert build_augment("resized_crop(p=0)").at((32, 24))(Sample(IMAGE, Label(0)), numpy_rng(0)).image is IMAGE


def test_the_whole_image_at_its_own_size_is_the_image():
    crop = ResizedCrop(scale=(1.0, 1.0), ratio=(1.5, 1.5)).at((60, 90))
    assert np.array_equal(crop(Sample(IMAGE, Label(0)), numpy_rng(3)).image, IMAGE)


@pytest.mark.parametrize("spec", ["resized_crop(0.5)", "resized_crop((0.5, 0.2))", "resized_crop(ratio=(0, 2))", "resized_crop((0.5, 2))"])
def test_wrong_ranges_are_named(spec):
    with pytest.raises(UserError, match="write two rising numbers above 0"):
        build_augment(spec)
