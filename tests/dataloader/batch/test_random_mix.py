from dataclasses import replace

import torch

from dataloader.batch.cutmix import CutMix
from dataloader.batch.mixup import Mixup
from dataloader.batch.random_mix import RandomMix
from dataloader.sample import Batch

MIXES = [make(alpha=1.0, ratio=1.0, num_classes=3, seed=0) for make in (Mixup, CutMix)]


def batch(epoch: int = 0) -> Batch:
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Batch(images, torch.arange(6) % 3, torch.ones(6), torch.arange(6), epoch=epoch)


def test_one_mix_is_that_mix():
    alone = RandomMix(MIXES[:1], until=None, num_classes=3, seed=0)
    assert all(torch.equal(alone(batch(), step, 0).images, MIXES[0](batch(), step, 0).images) for step in range(5))


def test_each_of_two_mixes_takes_about_half_of_the_steps():
    both = RandomMix(MIXES, until=None, num_classes=3, seed=0)
    first = 0
    for step in range(200):
        images = both(batch(), step, 0).images
        results = [torch.equal(images, mix(batch(), step, 0).images) for mix in MIXES]
        assert any(results)
        first += results[0]
    assert 70 < first < 130


def test_the_choice_follows_from_seed_step_and_rank_alone():
    both = RandomMix(MIXES, until=None, num_classes=3, seed=0)
    expected = both(batch(), 7, 1).images
    both(batch(), 3, 0)
    assert torch.equal(both(batch(), 7, 1).images, expected)


def test_the_last_epochs_are_not_mixed_but_have_the_same_types():
    mix = RandomMix(MIXES, until=3, num_classes=3, seed=0)
    mixed, plain = mix(batch(2), 50, 0), mix(batch(3), 50, 0)
    assert not torch.equal(mixed.images, batch().images.float())
    assert torch.equal(plain.images, batch().images.float())
    assert torch.equal(plain.targets.argmax(1), batch().targets)
    assert (plain.images.dtype, plain.targets.dtype) == (mixed.images.dtype, mixed.targets.dtype)
    assert replace(plain, images=batch().images).epoch == 3
