"""Claims about cost matrices."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from criterions.elementwise import softmax_probabilities
from criterions.weighters.cost import cost_weights, risk_weights
from tests.criterions.conftest import draw, seeds, shapes


@settings(max_examples=30, deadline=None)
@given(shapes, seeds)
def test_costs_and_risk_are_those_of_numpy(shape, seed):
    logits, targets = draw(shape, seed)
    p = softmax_probabilities(logits)
    costs = np.random.default_rng(seed).uniform(0, 5, (shape[1], shape[1]))
    expected = np.einsum("nc,cd->nd", targets.numpy(), costs)
    np.testing.assert_allclose(cost_weights(targets, torch.from_numpy(costs)).numpy(), expected, atol=1e-12)
    risk = (p.numpy() * expected).sum(1, keepdims=True)
    np.testing.assert_allclose(risk_weights(p, targets, torch.from_numpy(costs)).numpy(), risk, atol=1e-12)


def test_a_row_is_the_true_class_and_a_column_the_mistake():
    costs = torch.tensor([[1.0, 5.0], [2.0, 1.0]])
    assert cost_weights(torch.tensor([[1.0, 0.0]]), costs).tolist() == [[1.0, 5.0]]
    assert cost_weights(torch.tensor([[0.5, 0.5]]), costs).tolist() == [[1.5, 3.0]]


def test_risk_rises_with_the_probability_of_the_costly_mistake():
    costs = torch.tensor([[1.0, 9.0], [1.0, 1.0]])
    target = torch.tensor([[1.0, 0.0]])
    found = [float(risk_weights(torch.tensor([[1 - p, p]]), target, costs)) for p in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(found, [1.0, 5.0, 9.0])


def test_the_risk_of_no_probability_at_all_is_finite():
    assert torch.isfinite(risk_weights(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), torch.ones(2, 2))).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), seeds)
def test_several_labels_are_judged_one_by_one_and_other_classes_by_their_mean(classes, seed):
    rng = np.random.default_rng(seed)
    targets = (rng.random((5, classes)) < 0.4).astype(float)
    costs = rng.uniform(0, 5, (classes, classes))
    expected = np.ones_like(targets)
    for row, labels in enumerate(targets):
        present = np.flatnonzero(labels)
        for column in range(classes):
            if labels[column]:
                expected[row, column] = costs[column, column]
            elif len(present):
                expected[row, column] = costs[present, column].mean()
    np.testing.assert_allclose(cost_weights(torch.from_numpy(targets), torch.from_numpy(costs)).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("labels", [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
def test_a_template_of_ones_changes_nothing_for_any_number_of_labels(labels):
    targets, ones = torch.tensor([labels]), torch.ones(3, 3)
    assert (cost_weights(targets, ones) == 1).all()
    torch.testing.assert_close(risk_weights(torch.tensor([[0.2, 0.9, 0.4]]), targets, ones), torch.ones(1, 1))
