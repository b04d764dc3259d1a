"""Random erasing."""

import numpy as np

from dataloader.augment.erase import Erase
from dataloader.sample import Sample
from dataloader.targets.label import Label
from utils.randomness import numpy_rng

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_erasing_changes_one_rectangle_of_the_share_that_was_asked_for():
    shares = []
    for draw in range(100):
        changed = (Erase(p=1.0, scale=(0.1, 0.3))(Sample(IMAGE, Label(0)), numpy_rng(draw)).image != IMAGE).any(2)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        box = changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.mean() > 0.9, "noise may meet a pixel's own value, but not often"
        shares.append(box.size / changed.size)
    assert 0.07 < min(shares) < max(shares) < 0.33


def test_erasing_happens_as_often_as_said():
    erased = sum(Erase(p=0.25)(Sample(IMAGE, Label(0)), numpy_rng(draw)).image is not IMAGE for draw in range(400))
    assert 70 < erased < 130
