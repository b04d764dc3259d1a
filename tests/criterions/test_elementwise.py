"""Claims about the loss terms, against torch's own losses and numpy in float64."""

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from criterions.elementwise import (
    bce_terms,
    sigmoid_hardness,
    sigmoid_probabilities,
    smooth,
    softmax_hardness,
    softmax_probabilities,
    softmax_terms,
)
from tests.criterions.conftest import draw, seeds, shapes


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


def test_terms_of_softmax_and_bce_have_the_gradient_p_minus_t():
    for terms, probabilities in ((softmax_terms, softmax_probabilities), (bce_terms, sigmoid_probabilities)):
        logits, targets = draw((4, 5), 3)
        logits.requires_grad_()
        terms(logits, targets).sum().backward()
        assert logits.grad is not None
        assert torch.allclose(logits.grad, (probabilities(logits) - targets).detach(), atol=1e-10)


def test_probabilities_are_softmax_or_sigmoid():
    logits, _ = draw((4, 5), 1)
    assert torch.allclose(softmax_probabilities(logits).sum(1), torch.ones(4, dtype=torch.float64))
    np.testing.assert_allclose(sigmoid_probabilities(logits).numpy(), 1 / (1 + np.exp(-logits.numpy())), atol=1e-12)


def test_softmax_is_one_problem_a_sample_and_sigmoids_one_a_class():
    p = torch.tensor([[0.7, 0.2, 0.1]])
    t = torch.tensor([[0.0, 1.0, 0.0]])
    assert torch.allclose(softmax_hardness(p, t), torch.tensor([[0.8]]))
    assert torch.allclose(sigmoid_hardness(p, t), torch.tensor([[0.7, 0.8, 0.1]]))
    assert torch.equal(softmax_hardness(t, t), torch.zeros(1, 1))
