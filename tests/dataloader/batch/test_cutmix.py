import numpy as np
import pytest
import torch

from dataloader.batch.cutmix import CutMix, draw_rectangle
from dataloader.sample import Batch
from utils.errors import UserError
from utils.randomness import Stream, numpy_rng


def batch(count: int = 8, size: int = 20) -> Batch:
    images = torch.randint(0, 256, (count, 3, size, size + 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Batch(images, torch.arange(count) % 3, torch.linspace(0.2, 1, count), torch.arange(count))


def test_every_pixel_comes_from_the_image_or_from_its_partner_and_targets_follow_the_area():
    given = batch()
    cutmix = CutMix(alpha=1.0, ratio=1.0, num_classes=3, seed=4)
    shares = []
    for step in range(30):
        mixed = cutmix(given, step, rank=1)
        rng = numpy_rng(Stream.MIX, 4, step, 1)
        rng.random()
        draw_rectangle(20, 24, float(rng.beta(1.0, 1.0)), rng)
        partners = rng.permutation(8)
        own = (mixed.images == given.images.float()).all(1)
        other = (mixed.images == given.images[partners].float()).all(1)
        assert (own | other).all()
        moved = int(np.flatnonzero(partners != np.arange(8))[0])
        share = float(own[moved].float().mean())
        labels = np.eye(3)[given.targets] * given.weights.numpy()[:, None]
        expected = share * labels + (1 - share) * labels[partners]
        np.testing.assert_allclose((mixed.targets * mixed.weights[:, None]).numpy(), expected, atol=1e-5)
        weights = share * given.weights + (1 - share) * given.weights[partners]
        assert torch.allclose(mixed.weights, weights, atol=1e-5)
        shares.append(share)
    assert min(shares) < 0.4
    assert max(shares) > 0.9


def test_the_rectangle_lies_inside_and_has_its_area_where_nothing_is_cut_off():
    for draw in range(300):
        top, bottom, left, right = draw_rectangle(100, 200, 0.84, numpy_rng(draw))
        assert 0 <= top <= bottom <= 100
        assert 0 <= left <= right <= 200
        assert bottom - top <= 41
        assert right - left <= 81
        if top > 0 and bottom < 100 and left > 0 and right < 200:
            assert (bottom - top) * (right - left) == pytest.approx(0.16 * 20000, rel=0.05)


def test_what_is_given_stays_as_it_was():
    given = batch()
    floating = Batch(given.images.float(), given.targets, given.weights, given.indices)
    before = floating.images.clone()
    CutMix(alpha=1.0, ratio=1.0, num_classes=3, seed=0)(floating, 0, 0)
    assert torch.equal(floating.images, before)


def test_ratio_is_the_probability_that_a_batch_is_mixed():
    cutmix = CutMix(alpha=1.0, ratio=0.3, num_classes=3, seed=0)
    given = batch(4, 6)
    assert 60 < sum(not torch.equal(cutmix(given, step, 0).images, given.images.float()) for step in range(300)) < 120


def test_a_wrong_value_names_the_flag():
    with pytest.raises(UserError, match="--cutmix_alpha 0"):
        CutMix(alpha=0, ratio=1.0, num_classes=3, seed=0)
