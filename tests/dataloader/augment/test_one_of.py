"""Claims about OneOf, against albumentations."""

import albumentations
import numpy as np
import pytest

from dataloader.augment.chain import build_augment
from dataloader.augment.config_file import read_aug_config
from dataloader.sample import Sample
from dataloader.targets.label import Label
from utils.errors import UserError
from utils.randomness import numpy_rng

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)
FLIPS = {"left": IMAGE[:, ::-1], "top": IMAGE[::-1], "none": IMAGE}


def kind_of(image: np.ndarray) -> str:
    return next(name for name, flipped in FLIPS.items() if np.array_equal(image, flipped))


def shares(images: list[np.ndarray]) -> dict[str, float]:
    kinds = [kind_of(image) for image in images]
    return {name: kinds.count(name) / len(kinds) for name in FLIPS}


def test_choices_are_as_likely_as_in_the_library_and_applied_for_sure():
    ours = build_augment("OneOf('HorizontalFlip(p=0.9)', 'VerticalFlip(0.3)', p=0.8)")
    theirs = albumentations.OneOf([albumentations.HorizontalFlip(p=0.9), albumentations.VerticalFlip(p=0.3)], p=0.8)
    theirs.set_random_seed(0)
    found = shares([ours(Sample(IMAGE, Label(0)), numpy_rng(draw)).image for draw in range(2000)])
    expected = shares([theirs(image=IMAGE)["image"] for _ in range(2000)])
    assert found == pytest.approx({"left": 0.6, "top": 0.2, "none": 0.2}, abs=0.04)
    assert found == pytest.approx(expected, abs=0.05)


def test_a_chain_is_one_choice_and_runs_in_its_order():
    ours = build_augment("OneOf('HorizontalFlip(p=1)|VerticalFlip(p=1)', p=1.0)")
    assert np.array_equal(ours(Sample(IMAGE, Label(0)), numpy_rng(0)).image, IMAGE[::-1, ::-1])


def test_a_settings_file_may_nest_the_operations(tmp_path):
    file = tmp_path / "transforms.yaml"
    file.write_text("OneOf:\n  transforms:\n    HorizontalFlip: {p: 0.5}\n    VerticalFlip: {p: 0.5}\n  p: 1.0\n")
    ours = build_augment(read_aug_config(file))
    found = shares([ours(Sample(IMAGE, Label(0)), numpy_rng(draw)).image for draw in range(400)])
    assert found == pytest.approx({"left": 0.5, "top": 0.5, "none": 0.0}, abs=0.1)
    listed = build_augment([{"type": "OneOf", "kwargs": {"transforms": ["HorizontalFlip", {"type": "VerticalFlip"}], "p": 1.0}}])
    assert kind_of(listed(Sample(IMAGE, Label(0)), numpy_rng(0)).image) in ("left", "top")


def test_a_choice_follows_the_size_that_the_network_sees():
    chosen = build_augment("OneOf('resized_crop', p=1.0)")
    assert chosen.at((8, 12))(Sample(IMAGE, Label(0)), numpy_rng(0)).image.shape == (8, 12, 3)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("OneOf", "needs operations"),
        ("OneOf('flp')", "Did you mean flip"),
        ("OneOf('flip', 3)", "3 is not an operation"),
        ("OneOf('flip', p=2)", "p is 2"),
        ("OneOf('flip(p=0)')", "none could ever be chosen"),
        ("OneOf('flip(share=2)')", "no argument 'share'"),
        ("OneOf('flip', q=2)", "no argument 'q'"),
    ],
)
def test_mistakes_are_named(spec, said):
    with pytest.raises(UserError, match=said):
        build_augment(spec)


def test_equalize_is_that_of_the_library():
    expected = albumentations.Equalize(p=1)(image=IMAGE // 2)["image"]
    assert np.array_equal(build_augment("Equalize(p=1)")(Sample(IMAGE // 2, Label(0)), numpy_rng(0)).image, expected)
