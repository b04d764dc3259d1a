"""Random changes of the pixels."""

import numpy as np
import pytest

from dataloader.augment import distort
from dataloader.augment.distort import CHANGES, Distort, motion_kernel, shift_hsv
from dataloader.sample import Sample
from dataloader.targets.label import Label
from utils.randomness import numpy_rng

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (20, 30)])
def test_every_change_keeps_form_and_input(change, shape):
    image = IMAGE[: shape[0], : shape[1]]
    before = image.copy()
    results = [change(image, numpy_rng(draw)) for draw in range(20)]
    assert {(result.shape, result.dtype) for result in results} == {(image.shape, image.dtype)}
    assert np.array_equal(image, before)
    assert shape[0] == 1 or any(not np.array_equal(result, image) for result in results)


def test_distort_makes_none_to_most_different_changes(monkeypatch):
    made: list[str] = []
    monkeypatch.setattr(distort, "CHANGES", tuple(lambda image, _, name=each.__name__: made.append(name) or image for each in CHANGES))
    rounds = []
    for draw in range(300):
        made.clear()
        Distort(3)(Sample(IMAGE, Label(0)), numpy_rng(draw))
        assert len(set(made)) == len(made)
        rounds.append(tuple(made))
    assert {len(names) for names in rounds} == {0, 1, 2, 3}
    assert {name for names in rounds for name in names} == {each.__name__ for each in CHANGES}
    assert ("blur", "noise") in {names[:2] for names in rounds}
    assert ("noise", "blur") in {names[:2] for names in rounds}


def test_a_motion_kernel_is_a_line_that_keeps_the_brightness():
    assert np.allclose(motion_kernel(5, 0)[2], 0.2)
    assert np.allclose(np.diag(motion_kernel(5, 135)), [0, 1 / 3, 1 / 3, 1 / 3, 0])
    assert all(motion_kernel(length, angle).sum() == pytest.approx(1) for length in range(3, 8) for angle in range(0, 180, 10))


def test_hue_goes_around_the_circle():
    red = np.full((2, 2, 3), (200, 0, 0), dtype=np.uint8)
    assert shift_hsv(red, channel=0, amount=60)[0, 0].tolist() == [0, 200, 0]
    assert shift_hsv(red, channel=0, amount=-60)[0, 0].tolist() == [0, 0, 200]
    assert shift_hsv(red, channel=1, amount=-255)[0, 0].tolist() == [200, 200, 200]
