"""Claims about the Kullback-Leibler divergence, against scipy and torch."""

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from scipy.special import rel_entr, softmax

from criterions.divergence import kl_terms
from criterions.elementwise import smooth, softmax_terms
from tests.criterions.conftest import draw, seeds, shapes


@settings(max_examples=30, deadline=None)
@given(shapes, seeds)
def test_kl_is_that_of_scipy_and_torch(shape, seed):
    logits, targets = draw(shape, seed)
    found = kl_terms(logits, targets)
    np.testing.assert_allclose(found.numpy(), rel_entr(targets.numpy(), softmax(logits.numpy(), axis=1)), atol=1e-9)
    theirs = F.kl_div(logits.log_softmax(1), targets, reduction="none")
    np.testing.assert_allclose(found.numpy(), theirs.numpy(), atol=1e-12)


def test_it_is_zero_where_the_answer_is_the_target_and_the_cross_entropy_is_not():
    targets = smooth(torch.eye(4, dtype=torch.float64), 0.2)
    assert torch.allclose(kl_terms(targets.log(), targets).sum(1), torch.zeros(4, dtype=torch.float64), atol=1e-12)
    assert (softmax_terms(targets.log(), targets).sum(1) > 0.1).all()


def test_its_gradient_is_that_of_the_cross_entropy():
    logits, targets = draw((6, 5), 3)
    logits.requires_grad_()
    ours, theirs = (torch.autograd.grad(terms(logits, targets).sum(), logits)[0] for terms in (kl_terms, softmax_terms))
    assert torch.allclose(ours, theirs)
