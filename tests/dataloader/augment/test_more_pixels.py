"""What rotation, erasing, the mixture of changes and torchvision's policies do to pixels."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from dataloader.augment import distort
from dataloader.augment.chain import build_augment
from dataloader.augment.distort import CHANGES, Distort, motion_kernel, shift_hsv
from dataloader.augment.erase import Erase
from dataloader.augment.policies import AutoAugment, apply_seeded
from dataloader.augment.rotate import rotate_image
from dataloader.sample import Sample
from dataloader.targets.label import Label
from utils.errors import UserError
from utils.randomness import numpy_rng

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_a_quarter_turn_of_a_square_is_exact():
    square = IMAGE[:, :20].copy()
    assert np.abs(rotate_image(square, 90).astype(int) - np.rot90(square).astype(int)).max() <= 1
    assert np.array_equal(rotate_image(IMAGE, 0), IMAGE)


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


@pytest.mark.parametrize(
    "policy", [v2.AutoAugment(), v2.RandAugment(), v2.TrivialAugmentWide(), v2.AugMix()], ids=lambda each: type(each).__name__
)
def test_a_policy_is_torchvisions_at_a_seed_and_leaves_the_generator_alone(policy):
    torch.manual_seed(77)
    expected = policy(torch.from_numpy(IMAGE).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert np.array_equal(apply_seeded(policy, IMAGE, 77), expected)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_generator_comes_back_after_an_error_too():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        apply_seeded(lambda _: 1 / 0, IMAGE, 3)  # pyright: ignore[reportArgumentType]
    assert torch.equal(torch.get_rng_state(), state)


def test_the_three_sets_of_autoaugment_differ():
    images = [AutoAugment(name)(Sample(IMAGE, Label(0)), numpy_rng(6)).image for name in ("imagenet", "cifar10", "svhn")]
    assert not np.array_equal(images[0], images[2])
    assert not np.array_equal(images[1], images[2])


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
