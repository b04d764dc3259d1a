"""Claims about thresholds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from criterions.elementwise import sigmoid_probabilities
from criterions.weighters.threshold import threshold_weights
from tests.criterions.conftest import draw, seeds, shapes


@settings(max_examples=30, deadline=None)
@given(shapes, seeds)
def test_thresholds_are_those_of_numpy(shape, seed):
    logits, targets = draw(shape, seed)
    p, t = sigmoid_probabilities(logits), targets.numpy()
    rng = np.random.default_rng(seed)
    lower, upper = rng.uniform(-0.2, 0.4, (shape[1],) * 2), rng.uniform(0.6, 1.2, (shape[1],) * 2)
    found = threshold_weights(p, targets, lower=torch.from_numpy(lower), upper=torch.from_numpy(upper))
    np.testing.assert_array_equal(found.numpy(), (t @ lower < p.numpy()) & (p.numpy() < t @ upper))


def test_what_is_sure_is_left_out():
    lower, upper = torch.tensor([[-0.1, 0.05], [0.05, -0.1]]), torch.tensor([[0.95, 1.1], [1.1, 0.95]])
    p = torch.tensor([[0.99, 0.01], [0.5, 0.5], [0.0, 1.0]])
    t = torch.tensor([[1.0, 0.0]] * 3)
    assert threshold_weights(p, t, lower=lower, upper=upper).tolist() == [[0, 0], [1, 1], [1, 1]]


def test_the_bounds_themselves_are_outside():
    half = torch.full((1, 1), 0.5)
    one = torch.ones(1, 1)
    assert threshold_weights(half, one, lower=half, upper=one).item() == 0
    assert threshold_weights(half, one, lower=one * 0, upper=half).item() == 0


@pytest.mark.parametrize(("labels", "kept"), [([0.0, 0.0], [1, 1]), ([1.0, 0.0], [0, 1]), ([1.0, 1.0], [0, 1])])
def test_bounds_hold_for_every_number_of_labels(labels, kept):
    lower, upper = torch.zeros(2, 2), torch.full((2, 2), 0.95)
    found = threshold_weights(torch.tensor([[0.99, 0.5]]), torch.tensor([labels]), lower=lower, upper=upper)
    assert found.tolist() == [kept]
