"""Wrong arguments of augmentations."""

import pytest

from dataloader.augment.chain import build_augment
from utils.errors import UserError


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("autoaugment(imagnet)", "Did you mean imagenet"),
        ("randaug(m=31)", "m is 31; write a whole number from 0 to 30"),
        ("randaug(n=1.5)", "n is 1.5; write a whole number"),
        ("augmix(11)", "severity is 11"),
        ("augmix(alpha=0)", "write a number above 0"),
        ("rotate(190)", "write a number above 0, up to 180"),
        ("distort(9)", "from 1 to 7"),
        ("erase(2)", "from 0 to 1"),
    ],
)
def test_wrong_numbers_are_named(spec, message):
    with pytest.raises(UserError, match=message):
        build_augment(spec)
