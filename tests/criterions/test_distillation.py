"""Distances between student and teacher: their formulas in NumPy, zero where both agree."""

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from criterions import DISTILLATIONS
from criterions.distillation import as_logits, build_distillation, feature_distance, tempered_mean
from criterions.elementwise import ActivationName
from utils.errors import UserError

N, C, T = 6, 4, 3.0
RNG = np.random.default_rng(0)
STUDENT, TEACHER = RNG.normal(0, 3, (2, N, C))
TARGETS = np.eye(C)[RNG.integers(0, C, N)]
PAIRS: list[tuple[str, ActivationName]] = [
    (name, kind) for name in DISTILLATIONS for kind in ("softmax", "sigmoid") if (name, kind) != ("dkd", "sigmoid")
]


def measured(source: str, activation: ActivationName, student: np.ndarray = STUDENT, teacher: np.ndarray = TEACHER) -> np.ndarray:
    terms = build_distillation(source, activation)
    return terms(torch.from_numpy(student), torch.from_numpy(teacher / T), torch.from_numpy(TARGETS), T).numpy()


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (p * np.log(p / q)).sum(1)


@pytest.mark.parametrize(("name", "activation"), PAIRS)
def test_every_distance_pulls_the_student_to_its_teacher(name: str, activation: ActivationName) -> None:
    terms = build_distillation(name, activation)
    student = torch.from_numpy(STUDENT).requires_grad_()
    teacher, targets = torch.from_numpy(TEACHER / T), torch.from_numpy(TARGETS)
    before = terms(student, teacher, targets, T)
    assert before.shape == (N,)
    before.sum().backward()
    assert student.grad is not None
    after = terms((student - 0.05 * student.grad).detach(), teacher, targets, T)
    assert (after < before.detach()).all()


def test_soft_distances_are_kl_divergences() -> None:
    p, q = softmax(TEACHER / T, 1), softmax(STUDENT / T, 1)
    assert measured("kd", "softmax") == pytest.approx(T**2 * kl(p, q))
    p, q = expit(TEACHER / T), expit(STUDENT / T)
    coins = sum(kl(np.stack([p[:, c], 1 - p[:, c]], 1), np.stack([q[:, c], 1 - q[:, c]], 1)) for c in range(C))
    assert measured("kd", "sigmoid") == pytest.approx(T**2 * np.asarray(coins))


def test_hard_distances_take_the_answer_for_the_label() -> None:
    named = TEACHER.argmax(1)
    assert measured("hard", "softmax") == pytest.approx(-np.log(softmax(STUDENT, 1)[np.arange(N), named]))
    p = expit(STUDENT)
    assert measured("hard", "sigmoid") == pytest.approx(-np.log(np.where(TEACHER >= 0, p, 1 - p)).sum(1))


def test_the_decoupled_distance_is_its_formula() -> None:
    p, q, true = softmax(TEACHER / T, 1), softmax(STUDENT / T, 1), TARGETS.astype(bool)
    coins = [np.stack([each[true], 1 - each[true]], 1) for each in (p, q)]
    others = [each[~true].reshape(N, C - 1) / (1 - each[true])[:, None] for each in (p, q)]
    expected = T**2 * (0.5 * kl(coins[0], coins[1]) + 3 * kl(others[0], others[1]))
    assert measured("dkd(alpha=0.5, beta=3)", "softmax") == pytest.approx(expected)
    assert measured("dkd(alpha=1, beta=0)", "softmax") == pytest.approx(T**2 * kl(coins[0], coins[1]))


@pytest.mark.parametrize(("name", "activation"), [("kd", "softmax"), ("kd", "sigmoid"), ("dkd", "softmax")])
def test_equal_answers_are_no_distance_apart(name: str, activation: ActivationName) -> None:
    assert measured(name, activation, STUDENT, STUDENT) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("activation", "probabilities"), [("softmax", lambda z: softmax(z, 1)), ("sigmoid", expit)])
def test_several_teachers_are_averaged_as_probabilities(activation: ActivationName, probabilities) -> None:
    mean = tempered_mean([torch.from_numpy(STUDENT), torch.from_numpy(TEACHER)], activation, T).numpy()
    assert probabilities(mean) == pytest.approx((probabilities(STUDENT / T) + probabilities(TEACHER / T)) / 2, abs=1e-6)


def test_logits_of_another_kind_keep_their_probabilities() -> None:
    logits = torch.from_numpy(TEACHER)
    assert expit(as_logits(logits, "softmax", "sigmoid").numpy()) == pytest.approx(softmax(TEACHER, 1), abs=1e-6)
    p = expit(TEACHER)
    assert softmax(as_logits(logits, "sigmoid", "softmax").numpy(), 1) == pytest.approx(p / p.sum(1, keepdims=True))
    assert as_logits(logits, "softmax", "softmax") is logits


def test_maps_of_two_sizes_are_compared_free_of_scale() -> None:
    ours, theirs = torch.rand(2, 3, 8, 6, dtype=torch.float64), torch.rand(2, 3, 4, 3, dtype=torch.float64)
    for kind in ("mse", "cosine"):
        assert feature_distance(ours, theirs, kind).shape == (2,)
        assert feature_distance(theirs, theirs, kind).abs().max() < 1e-12
        assert torch.allclose(feature_distance(7 * ours, 7 * theirs, kind), feature_distance(ours, theirs, kind))
    assert torch.allclose(feature_distance(0 * theirs, theirs, "mse").mean(), torch.tensor(1.0, dtype=torch.float64))


@pytest.mark.parametrize(
    ("source", "activation", "said"),
    [
        ("dkd", "sigmoid", "softmax"),
        ("kdd", "softmax", "Did you mean"),
        ("kd(3)", "softmax", "kd"),
        ("dkd(gamma=1)", "softmax", "gamma"),
        ("dkd(alpha=-1)", "softmax", "alpha"),
        ("kd|hard", "softmax", "one name"),
    ],
)
def test_what_cannot_be_used_is_refused(source: str, activation: ActivationName, said: str) -> None:
    with pytest.raises(UserError, match=said):
        build_distillation(source, activation)
