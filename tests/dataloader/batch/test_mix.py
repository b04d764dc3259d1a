"""Claims about what both mixes share: labels of images that weigh nothing, and one share a batch, a pair or an image."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dataloader.batch.cutmix import CutMix
from dataloader.batch.mix import draw_pairs
from dataloader.batch.mixup import Mixup
from dataloader.batch.random_mix import RandomMix
from dataloader.sample import Batch
from utils.randomness import numpy_rng

KINDS = (Mixup, CutMix)
EACH = [(kind, mode) for kind in KINDS for mode in ("batch", "pair", "elem")]


def batch(count: int = 8, weights: torch.Tensor | None = None) -> Batch:
    images = torch.randint(0, 256, (count, 3, 12, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Batch(images, torch.arange(count) % 4, torch.ones(count) if weights is None else weights, torch.arange(count))


def own_share(given: Batch, mixed: Batch) -> np.ndarray:
    """Return the share of every image's own label, where all labels of a batch differ."""
    return mixed.targets[torch.arange(len(given)), given.targets].numpy()


@pytest.mark.parametrize(("kind", "mode"), EACH)
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_the_label_of_an_image_that_weighs_nothing_is_not_learned(kind, mode, loss):
    """The loss of the mixed batch is that of each label apart, times its share of the image and its weight."""
    weights = torch.tensor([1.0, 0.0, 0.5, 2.0, 0.0, 1.0, 0.0, 1.0])
    given = batch(weights=weights)
    wrong = Batch(given.images, torch.where(weights == 0, 3 - given.targets, given.targets), weights, given.indices)
    logits = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    for step in range(8):
        mix = kind(alpha=1.0, ratio=1.0, num_classes=4, seed=0, mode=mode)
        losses = []
        for each in (given, wrong):
            mixed = mix(each, step, 0)
            terms = (
                -mixed.targets * F.log_softmax(logits, 1)
                if loss == "softmax"
                else F.binary_cross_entropy_with_logits(logits, mixed.targets, reduction="none")
            )
            losses.append((terms.sum(1) * mixed.weights).numpy())
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "mode"), EACH)
def test_targets_stay_distributions_and_what_is_given_stays_as_it_was(kind, mode):
    given = batch(weights=torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]))
    floating = Batch(given.images.float(), given.targets, given.weights, given.indices)
    before = floating.images.clone()
    mixed = kind(alpha=1.0, ratio=1.0, num_classes=4, seed=0, mode=mode)(floating, 3, 0)
    assert torch.equal(floating.images, before)
    torch.testing.assert_close(mixed.targets.sum(1), torch.ones(8))
    assert torch.isfinite(mixed.targets).all()


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_pairs_are_each_others_partners_and_an_odd_one_stays_alone(count):
    partners, draws = draw_pairs(count, "pair", numpy_rng(3))
    assert partners[partners].tolist() == list(range(count))
    assert (partners == np.arange(count)).sum() == count % 2
    assert (draws[partners] == draws).all()
    assert len(set(draws.tolist())) == (count + 1) // 2
    assert sorted(draw_pairs(count, "elem", numpy_rng(3)).partners) == list(range(count))


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_swaps_what_it_mixes(kind):
    given = batch(4)
    mixed = kind(alpha=1.0, ratio=1.0, num_classes=4, seed=0, mode="pair")(given, 5, 0)
    partners = np.array([np.flatnonzero(row)[np.flatnonzero(row) != own][0] for own, row in enumerate(mixed.targets.numpy() > 1e-6)])
    assert partners[partners].tolist() == [0, 1, 2, 3]
    shares = own_share(given, mixed)
    np.testing.assert_allclose(shares, shares[partners], atol=1e-6)
    torch.testing.assert_close(mixed.images + mixed.images[partners], given.images.float() + given.images.float()[partners])


@pytest.mark.parametrize("mode", ["pair", "elem"])
def test_mixup_of_each_is_its_formula(mode):
    given = batch(4)
    mixed = Mixup(alpha=0.7, ratio=1.0, num_classes=4, seed=2, mode=mode)(given, 1, 0)
    shares = own_share(given, mixed)
    partners = np.where(np.arange(4)[:, None] == np.arange(4), -1, mixed.targets.numpy()).argmax(1)
    images = given.images.numpy().astype(float)
    weights = shares[:, None, None, None]
    np.testing.assert_allclose(mixed.images.numpy(), weights * images + (1 - weights) * images[partners], atol=1e-3)
    assert len(np.unique(shares.round(5))) == 2 if mode == "pair" else len(np.unique(shares.round(5))) > 2


def test_cutmix_of_each_cuts_the_area_that_its_target_says():
    given = batch(4)
    for step in range(20):
        mixed = CutMix(alpha=1.0, ratio=1.0, num_classes=4, seed=0, mode="elem")(given, step, 0)
        own = (mixed.images == given.images.float()).all(1).float().mean((1, 2)).numpy()
        np.testing.assert_allclose(own, own_share(given, mixed), atol=1e-5)


@pytest.mark.parametrize(("kind", "mode"), [pair for pair in EACH if pair[1] != "batch"])
def test_the_ratio_is_that_of_images(kind, mode):
    mix = kind(alpha=1.0, ratio=0.3, num_classes=4, seed=0, mode=mode)
    given = batch()
    changed = [(mix(given, step, 0).images != given.images.float()).any(3).any(2).any(1).numpy() for step in range(150)]
    assert 0.2 < np.mean(changed) < 0.4
    assert any(0 < row.sum() < 8 for row in changed), "some of a batch are mixed, others are not"


@pytest.mark.parametrize("mode", ["pair", "elem"])
def test_each_gets_one_of_two_mixes_and_pairs_get_the_same(mode):
    mixes = [kind(alpha=1.0, ratio=1.0, num_classes=4, seed=0, mode=mode) for kind in KINDS]
    both = RandomMix(mixes, until=None, num_classes=4, seed=0, mode=mode)
    counts = np.zeros(2)
    for step in range(40):
        given = batch()
        result = both(given, step, 0)
        alone = [mix(given, step, 0) for mix in mixes]
        rows = np.stack([(result.images == each.images).flatten(1).all(1).numpy() for each in alone])
        assert rows.any(0).all()
        counts += rows.sum(1)
        for number, row in itertools.product(range(2), range(8)):
            if rows[:, row].tolist() == [number == 0, number == 1]:
                torch.testing.assert_close(result.targets[row], alone[number].targets[row])
                torch.testing.assert_close(result.weights[row], alone[number].weights[row])
        if mode == "pair":
            sums = result.images.sum()
            torch.testing.assert_close(sums, given.images.float().sum(), rtol=1e-5, atol=1.0)
    assert 0.4 < counts[0] / counts.sum() < 0.6


@pytest.mark.parametrize(("kind", "mode"), EACH)
def test_a_mix_follows_from_seed_step_and_rank_alone(kind, mode):
    mix = kind(alpha=1.0, ratio=1.0, num_classes=4, seed=0, mode=mode)
    expected = mix(batch(), 7, 1).images
    mix(batch(), 3, 0)
    assert torch.equal(mix(batch(), 7, 1).images, expected)
    assert not torch.equal(mix(batch(), 7, 0).images, expected)
