"""The policies of torchvision."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from dataloader.augment.policies import AutoAugment, apply_seeded
from dataloader.sample import Sample
from dataloader.targets.label import Label
from utils.randomness import numpy_rng

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


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
