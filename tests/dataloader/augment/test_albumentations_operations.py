import ast
from pathlib import Path

import albumentations
import numpy as np
import pytest

from dataloader import ALBUMENTATIONS
from dataloader.augment import albumentations_operations
from dataloader.augment.albumentations_operations import least_side, present_arguments, sigma_of
from dataloader.augment.chain import build_augment
from dataloader.sample import Sample
from dataloader.targets.label import Label
from utils.errors import UserError
from utils.randomness import numpy_rng

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
# What the settings of another program write, with arguments that the library no longer has.
SETTINGS = {
    "Blur": {"blur_limit": 7, "always_apply": False, "p": 0.5},
    "GaussNoise": {"var_limit": [10.0, 50.0], "mean": 0, "per_channel": True, "always_apply": False, "p": 0.5},
    "GaussianBlur": {"blur_limit": [3, 7], "sigma_limit": 0, "always_apply": False, "p": 0.5},
    "GlassBlur": {"sigma": 0.7, "max_delta": 4, "iterations": 2, "always_apply": False, "mode": "fast", "p": 0.5},
    "HueSaturationValue": {"hue_shift_limit": 20, "sat_shift_limit": 30, "val_shift_limit": 20, "always_apply": False, "p": 0.5},
    "MedianBlur": {"blur_limit": 7, "always_apply": False, "p": 0.5},
    "RGBShift": {"r_shift_limit": 15, "g_shift_limit": 15, "b_shift_limit": 15, "p": 0.5},
    "RandomCrop": {"height": 128, "width": 128},
    "VerticalFlip": {"p": 0.5},
    "ShiftScaleRotate": {"shift_limit": 0.05, "scale_limit": 0.05, "rotate_limit": 15, "p": 0.5},
    "RandomBrightnessContrast": {
        "brightness_limit": 0.2,
        "contrast_limit": 0.2,
        "brightness_by_max": True,
        "always_apply": False,
        "p": 0.5,
    },
    "RandomResizedCrop": {"height": 32, "width": 48, "scale": [0.9, 1.0], "ratio": [0.9, 1.1], "p": 1.0},
    "ColorJitter": {"brightness": 0.35, "contrast": 0.5, "saturation": 0.5, "hue": 0.2, "p": 0.5},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_other_programs_work(name):
    augment = build_augment([{"type": name, "kwargs": SETTINGS[name]}])
    images = [augment(Sample(IMAGE, Label(0)), numpy_rng(draw)).image for draw in range(12)]
    assert any(image.shape != IMAGE.shape or not np.array_equal(image, IMAGE) for image in images)
    if name == "RandomResizedCrop":
        assert images[0].shape == (32, 48, 3)


def test_an_operation_is_the_librarys_at_a_seed():
    transform = albumentations.RandomGamma(gamma_limit=(60, 140), p=1)
    transform.set_random_seed(int(numpy_rng(4).integers(2**31)))
    expected = transform(image=IMAGE)["image"]
    assert np.array_equal(build_augment("RandomGamma((60, 140), p=1)")(Sample(IMAGE, Label(0)), numpy_rng(4)).image, expected)


def test_every_listed_name_is_one_of_the_library():
    assert all(issubclass(getattr(albumentations, name), albumentations.BasicTransform) for name in ALBUMENTATIONS)


def test_former_arguments_become_todays():
    noise = present_arguments("GaussNoise", {"var_limit": [100.0, 400.0], "mean": 51})
    assert noise == {"std_range": pytest.approx((10 / 255, 20 / 255)), "mean_range": (0.2, 0.2)}
    assert present_arguments("GaussNoise", {"var_limit": 25.0}) == {"std_range": (0.0, pytest.approx(5 / 255))}
    assert present_arguments("VerticalFlip", {"always_apply": True, "p": 0.1}) == {"p": 1.0}
    assert present_arguments("GaussianBlur", {"blur_limit": 7, "sigma_limit": 0}) == {"sigma_limit": (sigma_of(3), sigma_of(7))}
    assert sigma_of(3) == pytest.approx(0.8)


def test_a_crop_larger_than_its_image_is_filled_up():
    assert build_augment("RandomCrop(64, 30)")(Sample(IMAGE, Label(0)), numpy_rng(0)).image.shape == (64, 30, 3)


def test_images_that_are_too_small_stay_as_they_are():
    tiny = Sample(np.zeros((1, 5, 3), np.uint8), Label(0))
    assert build_augment("GlassBlur(p=1)")(tiny, numpy_rng(0)) is tiny
    assert least_side("GlassBlur", {"max_delta": 6}) == 12


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("RGBShift(r_shift=3)", "no argument 'r_shift'. Did you mean r_shift_limit"),
        ("RandomCrop(3)", "missing a required argument: 'width'"),
        ("RandomCrop(height='x', width=3)", "height: Input should be a valid integer"),
        ("Rotate(p=3)", "p: Input should be less than or equal to 1$"),
        ("RandomResizedCrop(height=3)", r"size=\(HEIGHT, WIDTH\)"),
        ("SmallestMaxSize", "max_size"),
        ("RandomCropp(3, 4)", "Did you mean RandomCrop"),
    ],
)
def test_mistakes_are_explained_in_one_line(spec, message):
    with pytest.raises(UserError, match=message) as caught:
        build_augment(spec)
    assert "\n" not in str(caught.value)


def test_the_library_is_imported_on_use_alone():
    for file in Path(albumentations_operations.__file__).parent.parent.rglob("*.py"):
        top = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert "albumentations" not in {name.name for node in top for name in node.names} | {getattr(node, "module", "") for node in top}
