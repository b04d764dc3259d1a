import numpy as np
import pytest

from dataloader import AUGMENTS
from dataloader.augment.chain import Augment, build_augment
from dataloader.augment.color import Color
from dataloader.augment.crop import Crop
from dataloader.augment.flip import Flip
from dataloader.augment.operation import Composite
from dataloader.sample import Sample
from dataloader.targets.label import Label
from utils.errors import UserError
from utils.randomness import numpy_rng


def test_a_chain_is_built_in_order_with_its_arguments():
    assert build_augment("flip|crop(0.1)|color(0.4,p=1)").operations == (Flip(), Crop(0.1), Color(0.4, p=1))


def test_a_recipe_is_a_chain_with_a_name():
    assert build_augment("default") == build_augment("flip|crop|color")


def test_a_config_file_may_write_mappings():
    assert build_augment([{"type": "crop", "kwargs": {"share": 0.3}}, "flip"]).operations == (Crop(0.3), Flip())


def test_the_empty_chain_changes_nothing():
    sample = Sample(np.zeros((2, 2, 3), dtype=np.uint8), target=Label(0))
    assert build_augment("") == Augment()
    assert Augment()(sample, numpy_rng(0)) is sample


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("flipp", "Did you mean flip"),
        ("flip|crop(shar=0.2)", "no argument 'shar'. Did you mean share"),
        ("flip(0.5, 0.5)", "flip takes p"),
        ("crop(1.5)", "write a number from 0 to 1"),
        ("color(strong)", "write a number from 0 to 1"),
        ("flip(True)", "write a number from 0 to 1"),
        ("flip|default", "in a chain write"),
        ("refrence", "Did you mean reference"),
        ("flip|", "cannot read"),
    ],
)
def test_a_wrong_spec_names_what_is_right(spec, message):
    with pytest.raises(UserError, match=message):
        build_augment(spec)


def test_an_operation_of_the_users_own_joins_the_chain(tmp_path):
    (tmp_path / "own_operation.py").write_text(
        "import dataclasses\n"
        "class Invert:\n"
        "    def __init__(self, top=255):\n"
        "        self.top = top\n"
        "    def __call__(self, sample, rng):\n"
        "        return dataclasses.replace(sample, image=self.top - sample.image)\n"
    )
    augment = build_augment(f"flip(0)|{tmp_path}/own_operation.py:Invert(top=254)")
    assert augment(Sample(np.full((2, 2, 3), 4, dtype=np.uint8), Label(0)), numpy_rng(0)).image.tolist() == [[[250] * 3] * 2] * 2


# What an operation cannot do without.
ARGUMENTS = {
    "OneOf": "OneOf('GaussNoise', 'MotionBlur', p=0.5)",
    "RandomCrop": "RandomCrop(16, 16)",
    "CenterCrop": "CenterCrop(16, 16)",
    "RandomResizedCrop": "RandomResizedCrop((24, 24))",
    "Resize": "Resize(24, 24)",
    "SmallestMaxSize": "SmallestMaxSize(24)",
    "LongestMaxSize": "LongestMaxSize(24)",
}
# Mosaics and their like put several images together.
OF_ONE_IMAGE = [name for name in AUGMENTS if not (isinstance(row := AUGMENTS.resolve(name), type) and issubclass(row, Composite))]


@pytest.mark.parametrize("name", OF_ONE_IMAGE)
def test_a_fourth_channel_is_changed_by_the_draws_of_the_colors(name):
    """Where all four channels are equal, all that is drawn alike leaves the fourth what red is."""
    chain = build_augment(ARGUMENTS.get(name, name))
    gray = numpy_rng(3).integers(0, 256, (40, 48, 1), dtype=np.uint8)
    for draw in range(3):
        sample = Sample(np.repeat(gray, 4, axis=2), target=Label(0))
        found, rng = chain.at((40, 48))(sample, numpy_rng(draw)), numpy_rng(draw)
        colors = chain.at((40, 48))(Sample(np.repeat(gray, 3, axis=2), target=Label(0)), rng)
        assert found.image.shape[2] == 4
        assert np.array_equal(found.image[:, :, :3], colors.image), "the colors are changed as without a fourth channel"
        assert np.array_equal(found.image[:, :, 3], colors.image[:, :, 0])
