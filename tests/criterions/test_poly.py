"""Claims about Poly-1, against the paper's formula in numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from criterions.poly import poly1, poly1_bce
from tests.criterions.conftest import draw, seeds, shapes
from utils.errors import UserError


@settings(max_examples=30, deadline=None)
@given(shapes, seeds, st.floats(-1, 5))
def test_poly1_is_the_cross_entropy_plus_a_share_of_what_is_missed(shape, seed, eps):
    logits, targets = draw(shape, seed)
    z, t = logits.numpy(), targets.numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    expected = -(t * np.log(p)).sum(1) + eps * (1 - (t * p).sum(1))
    np.testing.assert_allclose(poly1(eps).terms(logits, targets).sum(1).numpy(), expected, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(shapes, seeds, st.floats(-1, 5))
def test_poly1_bce_does_so_for_every_class(shape, seed, eps):
    logits, targets = draw(shape, seed)
    p, t = 1 / (1 + np.exp(-logits.numpy())), targets.numpy()
    right = t * p + (1 - t) * (1 - p)
    expected = -t * np.log(p) - (1 - t) * np.log(1 - p) + eps * (1 - right)
    np.testing.assert_allclose(poly1_bce(eps).terms(logits, targets).numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("eps", [-1.5, float("nan"), float("inf")])
def test_an_eps_out_of_range_is_named(eps):
    for loss in (poly1, poly1_bce):
        with pytest.raises(UserError, match="eps"):
            loss(eps)
