"""Claims about the loss terms, against torch's own losses and numpy in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from criterions import CRITERIONS
from criterions.elementwise import bce_terms, sigmoid_probabilities, smooth, softmax_probabilities, softmax_terms

shapes = st.tuples(st.integers(1, 6), st.integers(2, 7))
seeds = st.integers(0, 2**31)


def draw(shape, seed, scale=3.0):
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, scale, shape))
    targets = torch.from_numpy(rng.dirichlet(np.ones(shape[1]), shape[0]))
    return logits, targets


@settings(max_examples=30, deadline=None)
@given(shapes, seeds)
def test_softmax_terms_sum_to_the_cross_entropy(shape, seed):
    logits, targets = draw(shape, seed)
    theirs = F.cross_entropy(logits, targets, reduction="none")
    assert torch.allclose(softmax_terms(logits, targets).sum(1), theirs, atol=1e-10)
    z, t = logits.numpy(), targets.numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    np.testing.assert_allclose(softmax_terms(logits, targets).numpy(), -t * np.log(p), atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(shapes, seeds)
def test_bce_terms_are_one_binary_problem_a_class(shape, seed):
    logits, targets = draw(shape, seed)
    theirs = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    assert torch.equal(bce_terms(logits, targets), theirs)
    z, t = logits.numpy(), targets.numpy()
    p = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(bce_terms(logits, targets).numpy(), -t * np.log(p) - (1 - t) * np.log(1 - p), atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(shapes, seeds, st.floats(0, 0.99))
def test_smoothing_is_that_of_torch(shape, seed, share):
    logits, targets = draw(shape, seed)
    theirs = F.cross_entropy(logits, targets, reduction="none", label_smoothing=share)
    assert torch.allclose(softmax_terms(logits, smooth(targets, share)).sum(1), theirs, atol=1e-9)


def test_smoothing_spreads_the_share_over_all_classes():
    smoothed = smooth(torch.tensor([[0.0, 1.0, 0.0, 0.0]]), 0.2)
    assert torch.allclose(smoothed, torch.tensor([[0.05, 0.85, 0.05, 0.05]]))


@pytest.mark.parametrize("name", CRITERIONS)
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_computed_in_float32(name, half):
    row = CRITERIONS.resolve(name)
    logits, targets = draw((5, 4), 0)
    logits, targets = logits.to(half), targets.float()
    assert torch.equal(row.terms(logits, targets), row.terms(logits.float(), targets))
    assert row.terms(logits, targets).dtype == torch.float32
    assert row.probabilities(logits).dtype == torch.float32


@pytest.mark.parametrize("name", CRITERIONS)
def test_terms_keep_their_precision_under_autocast(name):
    row = CRITERIONS.resolve(name)
    logits, targets = draw((5, 4), 0)
    logits, targets = logits.float(), targets.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = row.terms(logits, targets)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, row.terms(logits, targets))


@pytest.mark.parametrize("name", CRITERIONS)
def test_extreme_logits_give_finite_terms_and_gradients(name):
    row = CRITERIONS.resolve(name)
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    row.terms(logits, torch.tensor([[0.0, 1.0, 0.0]])).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", CRITERIONS)
def test_terms_have_the_gradient_p_minus_t(name):
    row = CRITERIONS.resolve(name)
    logits, targets = draw((4, 5), 3)
    logits.requires_grad_()
    row.terms(logits, targets).sum().backward()
    assert logits.grad is not None
    assert torch.allclose(logits.grad, (row.probabilities(logits) - targets).detach(), atol=1e-10)


def test_probabilities_are_softmax_or_sigmoid():
    logits, _ = draw((4, 5), 1)
    assert torch.allclose(softmax_probabilities(logits).sum(1), torch.ones(4, dtype=torch.float64))
    np.testing.assert_allclose(sigmoid_probabilities(logits).numpy(), 1 / (1 + np.exp(-logits.numpy())), atol=1e-12)
