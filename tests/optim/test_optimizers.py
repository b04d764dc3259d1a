"""Claims about the optimizers: each follows its paper's formula, written here in float64 numpy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from optim import OPTIMIZERS
from optim.optimizers import build_optimizer
from utils.errors import UserError

LR, MOMENTUM, DECAY, BETA2, EPS = 0.05, 0.8, 0.1, 0.999, 1e-8


def sgd(w, grads):
    velocity = np.zeros_like(w)
    for grad in grads:
        grad = grad + DECAY * w
        velocity = MOMENTUM * velocity + grad
        w = w - LR * (grad + MOMENTUM * velocity)
        yield w


def adam_family(w, grads, *, decoupled, rectified):
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, grad in enumerate(grads, start=1):
        if decoupled:
            w = w * (1 - LR * DECAY)
        else:
            grad = grad + DECAY * w
        m = MOMENTUM * m + (1 - MOMENTUM) * grad
        v = BETA2 * v + (1 - BETA2) * grad**2
        m_hat = m / (1 - MOMENTUM**t)
        if not rectified:
            w = w - LR * m_hat / (np.sqrt(v / (1 - BETA2**t)) + EPS)
        else:
            longest = 2 / (1 - BETA2) - 1
            length = longest - 2 * t * BETA2**t / (1 - BETA2**t)
            if length > 5:
                r = math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
                w = w - LR * m_hat * r * math.sqrt(1 - BETA2**t) / (np.sqrt(v) + EPS)
            else:
                w = w - LR * m_hat
        yield w


FORMULAS = {
    "sgd": sgd,
    "adam": lambda w, grads: adam_family(w, grads, decoupled=False, rectified=False),
    "adamw": lambda w, grads: adam_family(w, grads, decoupled=True, rectified=False),
    "radam": lambda w, grads: adam_family(w, grads, decoupled=True, rectified=True),
}


def build(name, model):
    return build_optimizer(name, model, lr=LR, momentum=MOMENTUM, weight_decay=DECAY)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_follows_its_formula_step_by_step(name):
    rng = np.random.default_rng(0)
    start, grads = rng.normal(size=(3, 4)), [rng.normal(size=(3, 4)) for _ in range(12)]
    model = nn.Linear(4, 3, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(start))
    optimizer = build(name, model)
    for grad, expected in zip(grads, FORMULAS[name](start, grads), strict=True):
        model.weight.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        np.testing.assert_allclose(model.weight.detach().numpy(), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_leaves_norms_and_biases_undecayed(name):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = {key: param.detach().clone() for key, param in model.named_parameters()}
    for param in model.parameters():
        param.grad = torch.zeros_like(param)
    build(name, model).step()
    moved = {key for key, param in model.named_parameters() if not torch.equal(param, before[key])}
    assert moved == {"0.weight"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns_a_line(name):
    torch.manual_seed(0)
    inputs = torch.randn(64, 2)
    targets = inputs @ torch.tensor([[1.0], [-2.0]])
    model = nn.Linear(2, 1)
    optimizer = build_optimizer(name, model, lr=0.03, momentum=0.9, weight_decay=0)
    for _ in range(500):
        optimizer.zero_grad()
        loss = (model(inputs) - targets).square().mean()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 1e-2


def test_plain_gradient_descent_is_momentum_zero():
    model = nn.Linear(2, 1, bias=False)
    before = model.weight.detach().clone()
    optimizer = build_optimizer("sgd", model, lr=0.5, momentum=0, weight_decay=0)
    model.weight.grad = torch.ones(1, 2)
    optimizer.step()
    assert torch.allclose(model.weight, before - 0.5)


def test_the_cpu_takes_the_fused_kernels():
    assert all(build(name, nn.Linear(2, 2)).defaults["fused"] for name in ("sgd", "adam", "adamw"))


@pytest.mark.parametrize(
    ("flag", "wrong"),
    [("lr", 0.0), ("lr", float("nan")), ("lr", float("inf")), ("momentum", 1.0), ("momentum", -0.1), ("weight_decay", -1.0)],
)
def test_impossible_numbers_name_their_flag(flag, wrong):
    numbers = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0} | {flag: wrong}
    with pytest.raises(UserError, match=f"--{flag}"):
        build_optimizer("sgd", nn.Linear(2, 2), **numbers)


def test_an_unknown_optimizer_names_the_nearest():
    with pytest.raises(UserError, match="Did you mean adamw"):
        build("adamwx", nn.Linear(2, 2))
