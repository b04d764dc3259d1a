"""Claims about hard mining."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from criterions.elementwise import softmax_terms
from criterions.weighted import build_criterion
from criterions.weighters.ohm import HardMining, hardest
from tests.criterions.conftest import seeds, shapes
from utils.errors import UserError
from utils.spec import Spec


@settings(max_examples=50, deadline=None)
@given(shapes, seeds, st.floats(0.01, 1))
def test_ohm_keeps_the_hardest_share(shape, seed, share):
    g = np.random.default_rng(seed).random(shape)
    keep = max(1, math.ceil(share * g.size - 1e-9))
    expected = np.zeros(g.size)
    expected[np.argsort(-g.ravel())[:keep]] = 1
    np.testing.assert_array_equal(hardest(torch.from_numpy(g), share).numpy().ravel(), expected)


def test_round_shares_keep_round_counts():
    values = torch.rand(100, generator=torch.Generator().manual_seed(0))
    assert hardest(values, 0.07).sum() == 7
    assert hardest(values, 0.7).sum() == 70
    assert hardest(values, 1.0).sum() == 100
    assert hardest(values, 1e-6).sum() == 1


def test_ties_with_the_last_one_kept_are_kept():
    assert hardest(torch.tensor([0.5, 0.9, 0.5, 0.1]), 0.5).tolist() == [1, 1, 1, 0]


def test_softmax_drops_whole_samples_the_easy_ones():
    logits = torch.tensor([[4.0, 0.0], [0.0, 1.0], [-2.0, 0.0], [1.0, 0.0]])
    targets = torch.tensor([[1.0, 0.0]] * 4)
    losses = softmax_terms(logits, targets).sum(1)
    found = build_criterion([Spec("softmax"), Spec("ohm", (0.5,))])(logits, targets, torch.ones(4))
    assert torch.allclose(found, losses[[1, 2]].mean()), "the mean of the samples kept"


def test_sigmoids_drop_single_classes():
    logits = torch.tensor([[4.0, 4.0], [-4.0, -4.0]])
    targets = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    found = build_criterion([Spec("bce"), Spec("ohm", (0.5,))])(logits, targets, torch.ones(2))
    assert torch.allclose(found, 2 * torch.log1p(torch.tensor(4.0).exp())), "two of four terms are kept"


@pytest.mark.parametrize("loss", ["softmax", "bce"])
def test_what_weighs_nothing_takes_no_place_among_the_hardest(loss):
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(8, 3, generator=generator), torch.eye(3)[torch.arange(8) % 3]
    idle = torch.tensor([1.0, 0, 1, 1, 0, 1, 1, 1])
    logits[idle == 0] -= 20 * targets[idle == 0]
    live = idle > 0
    found = build_criterion([Spec(loss), Spec("ohm", (0.5,))])(logits, targets, idle)
    alone = build_criterion([Spec(loss), Spec("ohm", (0.5,))])(logits[live], targets[live], torch.ones(6))
    assert float(found) == pytest.approx(float(alone) * 6 / 8, rel=1e-6)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, float("nan")])
def test_a_share_outside_its_range_names_the_flag(share):
    with pytest.raises(UserError, match="--hard_ratio"):
        HardMining(share)
