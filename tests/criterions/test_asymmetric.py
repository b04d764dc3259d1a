"""Claims about the asymmetric loss, against the paper's formula in numpy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from criterions.asymmetric import asymmetric, asymmetric_single, asymmetric_single_terms, asymmetric_terms
from criterions.elementwise import bce_terms, smooth, softmax_terms
from tests.criterions.conftest import draw, seeds, shapes
from utils.errors import UserError

gammas = st.floats(0, 5)


@settings(max_examples=30, deadline=None)
@given(shapes, seeds, gammas, gammas, st.sampled_from([0.0, 0.05, 0.3]))
def test_asymmetric_is_the_formula_of_the_paper(shape, seed, gamma_neg, gamma_pos, clip):
    logits, targets = draw(shape, seed)
    p, t = 1 / (1 + np.exp(-logits.numpy())), targets.numpy()
    q = np.maximum(p - clip, 0)
    expected = -t * (1 - p) ** gamma_pos * np.log(p) - (1 - t) * q**gamma_neg * np.log(1 - q)
    found = asymmetric_terms(logits, targets, gamma_neg=gamma_neg, gamma_pos=gamma_pos, clip=clip)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(shapes, seeds, gammas, gammas)
def test_asymmetric_single_shares_its_factors_by_the_target(shape, seed, gamma_neg, gamma_pos):
    logits, targets = draw(shape, seed)
    z, t = logits.numpy(), targets.numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    expected = -t * (t * (1 - p) ** gamma_pos + (1 - t) * p**gamma_neg) * np.log(p)
    found = asymmetric_single_terms(logits, targets, gamma_neg=gamma_neg, gamma_pos=gamma_pos)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)


def test_without_focusing_and_margin_it_is_the_binary_cross_entropy():
    logits, targets = draw((5, 4), 2)
    assert torch.allclose(asymmetric(0, 0, 0).terms(logits, targets), bce_terms(logits, targets))


def test_single_is_the_cross_entropy_until_targets_are_shared():
    logits, _ = draw((5, 4), 2)
    sharp = torch.eye(4, dtype=torch.float64)[[0, 1, 2, 3, 0]]
    terms = asymmetric_single().terms
    assert torch.allclose(terms(logits, sharp), softmax_terms(logits, sharp))
    assert not torch.allclose(terms(logits, smooth(sharp, 0.1)), softmax_terms(logits, smooth(sharp, 0.1)))


def test_negatives_below_the_margin_are_forgotten():
    logits = torch.tensor([[-4.0, 0.0]], requires_grad=True)
    asymmetric().terms(logits, torch.zeros(1, 2)).sum().backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] == 0
    assert logits.grad[0, 1] > 0


def test_a_negative_on_the_margin_has_a_finite_gradient_at_a_gamma_below_one():
    logits = torch.tensor([[-4.0]], requires_grad=True)
    margin = float(F.logsigmoid(logits.detach()).exp())
    asymmetric(gamma_neg=0.5, clip=margin).terms(logits, torch.zeros(1, 1)).sum().backward()
    assert logits.grad is not None
    # What the floor under the power leaves, where rounding puts the answer on the margin or beside it.
    assert abs(logits.grad.item()) < 1e-5


@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_a_certain_mistake_is_still_learned_from(clip):
    logits = torch.tensor([[1e4, -1e4]], requires_grad=True)
    asymmetric(clip=clip).terms(logits, torch.tensor([[0.0, 1.0]])).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 1] < -0.5


@pytest.mark.parametrize("values", [{"gamma_neg": -1.0}, {"gamma_pos": -0.5}, {"clip": 1.0}, {"clip": -0.1}])
def test_values_out_of_range_are_named(values):
    with pytest.raises(UserError, match=next(iter(values))):
        asymmetric(**values)
    if "clip" not in values:
        with pytest.raises(UserError, match=next(iter(values))):
            asymmetric_single(**values)


def test_a_small_margin_keeps_a_sure_mistake_finite():
    terms = asymmetric_terms(torch.tensor([[30.0]]), torch.zeros(1, 1), gamma_neg=4.0, gamma_pos=1.0, clip=1e-8)
    np.testing.assert_allclose(terms.item(), -np.log(1e-8), rtol=1e-3)
