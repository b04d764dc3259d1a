import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax, softmax

from criterions.divergence import js_divergence
from criterions.weighted import build_criterion
from utils.errors import UserError
from utils.spec import parse_specs

shapes = st.tuples(st.integers(2, 4), st.integers(1, 5), st.integers(2, 6))


def divergence(probabilities: np.ndarray) -> np.ndarray:
    """Return the mean Kullback-Leibler divergence from the mixture, by the formula of the paper: (k, N, C) -> (N,)."""
    mixture = probabilities.mean(0)
    terms = np.where(probabilities > 0, probabilities * np.log(np.maximum(probabilities, 1e-300) / np.maximum(mixture, 1e-300)), 0)
    return terms.sum(2).mean(0)


def draw(shape: tuple[int, int, int], seed: int, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits (k, N, C), class indices (N,) and sample weights (N,)."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, scale, shape), rng.integers(0, shape[2], shape[1]), rng.uniform(0, 2, shape[1])


@settings(max_examples=50, deadline=None)
@given(shape=shapes, seed=st.integers(0, 10**6), scale=st.floats(0.1, 30), alpha=st.floats(0.1, 20))
def test_softmax_loss_is_the_formula_of_the_paper(shape, seed, scale, alpha):
    logits, targets, weights = draw(shape, seed, scale)
    k, n, c = shape
    cross_entropy = -log_softmax(logits[0], axis=1)[np.arange(n), targets]
    expected = (weights * (cross_entropy + alpha * divergence(softmax(logits, axis=2)))).mean()
    criterion = build_criterion(parse_specs("softmax"), jsd=alpha)
    dense = torch.eye(c, dtype=torch.float64)[torch.from_numpy(targets)].repeat(k, 1)
    loss = criterion(torch.from_numpy(logits.reshape(k * n, c)), dense, torch.from_numpy(weights).repeat(k), copies=k)
    assert float(loss) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(shape=shapes, seed=st.integers(0, 10**6))
def test_sigmoids_answer_one_question_a_class(shape, seed):
    logits, _, weights = draw(shape, seed, 3.0)
    k, n, c = shape
    p = expit(logits)
    apart = sum(divergence(np.stack([p[..., i], 1 - p[..., i]], axis=2)) for i in range(c))
    targets = np.random.default_rng(seed).integers(0, 2, (n, c)).astype(float)
    entropy = -(targets * np.log(p[0]) + (1 - targets) * np.log(1 - p[0])).sum(1)
    criterion = build_criterion(parse_specs("bce"), jsd=12.0)
    dense = torch.from_numpy(targets).repeat(k, 1)
    loss = criterion(torch.from_numpy(logits.reshape(k * n, c)), dense, torch.from_numpy(weights).repeat(k), copies=k)
    assert float(loss) == pytest.approx((weights * (entropy + 12 * apart)).mean(), rel=1e-6)


def test_equal_answers_are_not_apart_and_opposite_ones_by_log_k():
    same = torch.randn(1, 4, 1, 5).log_softmax(3).expand(3, -1, -1, -1)
    assert torch.allclose(js_divergence(same), torch.zeros(4), atol=1e-6)
    sure = torch.tensor([[100.0, 0.0], [0.0, 100.0]]).log_softmax(1)[:, None, None]
    assert float(js_divergence(sure)) == pytest.approx(np.log(2), rel=1e-5)


def test_gradients_stay_finite_where_probabilities_vanish():
    logits = (torch.eye(4) * 300).repeat(2, 1).requires_grad_()
    criterion = build_criterion(parse_specs("softmax"), jsd=12.0)
    criterion(logits, torch.eye(4).roll(1, 0).repeat(2, 1), torch.ones(8), copies=2).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_weighters_look_at_the_clean_images_alone():
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    dense, weights = torch.eye(3).repeat(2, 1), torch.ones(6)
    hard = build_criterion(parse_specs("softmax|ohm(0.5)"), jsd=1e-9)
    alone = build_criterion(parse_specs("softmax|ohm(0.5)"))
    assert float(hard(logits, dense, weights, copies=2)) == pytest.approx(float(alone(logits[:3], dense[:3], weights[:3])), rel=1e-5)


def test_without_the_flag_all_copies_are_trained_alike():
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    criterion = build_criterion(parse_specs("softmax"))
    arguments = logits, torch.eye(3).repeat(2, 1), torch.ones(6)
    assert torch.equal(criterion(*arguments, copies=2), criterion(*arguments))


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_a_factor_that_makes_no_sense_is_refused(alpha):
    with pytest.raises(UserError, match="--jsd"):
        build_criterion(parse_specs("softmax"), jsd=alpha)
