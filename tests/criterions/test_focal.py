"""Claims about the focal loss, against the paper's formula in numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from criterions.elementwise import bce_terms, softmax_terms
from criterions.focal import focal, focal_bce, focal_bce_terms, focal_terms
from tests.criterions.conftest import draw, seeds, shapes
from utils.errors import UserError

gammas = st.floats(0, 5)


@settings(max_examples=30, deadline=None)
@given(shapes, seeds, gammas)
def test_focal_is_the_formula_of_the_paper(shape, seed, gamma):
    logits, targets = draw(shape, seed)
    z, t = logits.numpy(), targets.numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    np.testing.assert_allclose(focal_terms(logits, targets, gamma=gamma).numpy(), -t * (1 - p) ** gamma * np.log(p), atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(shapes, seeds, gammas, st.floats(0, 1))
def test_focal_bce_is_the_formula_of_the_paper(shape, seed, gamma, alpha):
    logits, targets = draw(shape, seed)
    p, t = 1 / (1 + np.exp(-logits.numpy())), targets.numpy()
    expected = -alpha * t * (1 - p) ** gamma * np.log(p) - (1 - alpha) * (1 - t) * p**gamma * np.log(1 - p)
    np.testing.assert_allclose(focal_bce_terms(logits, targets, gamma=gamma, alpha=alpha).numpy(), expected, atol=1e-9)


def test_without_gamma_focal_is_the_cross_entropy():
    logits, targets = draw((5, 4), 2)
    assert torch.allclose(focal(gamma=0).terms(logits, targets), softmax_terms(logits, targets))
    assert torch.allclose(focal_bce(gamma=0).terms(logits, targets), bce_terms(logits, targets))


def test_alpha_none_weighs_both_sides_one():
    logits, targets = draw((5, 4), 2)
    half = focal_bce(alpha=0.5).terms(logits, targets)
    assert torch.allclose(focal_bce().terms(logits, targets), 2 * half)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
def test_a_certain_answer_has_a_finite_gradient_at_every_gamma(gamma):
    logits = torch.tensor([[60.0, -60.0], [-60.0, 60.0]], requires_grad=True)
    targets = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    (focal(gamma).terms(logits, targets).sum() + focal_bce(gamma).terms(logits, targets).sum()).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[1].abs().min() > 0.5, "a certain mistake is still learned from"


@pytest.mark.parametrize("gamma", [-1.0, float("nan"), float("inf")])
def test_a_gamma_out_of_range_is_named(gamma):
    for loss in (focal, focal_bce):
        with pytest.raises(UserError, match="gamma"):
            loss(gamma)


def test_an_alpha_out_of_range_is_named():
    with pytest.raises(UserError, match="alpha"):
        focal_bce(alpha=1.5)
