"""Claims about the optimizers: ours and torch's core follow their papers' formulas, written here in float64 numpy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from optim import OPTIMIZERS
from optim.optimizers import accepted_arguments, build_optimizer, parse_opt_args
from optim.ralamb import rectification, trust_ratio
from utils.errors import UserError

LR, MOMENTUM, DECAY, BETA2, EPS = 0.05, 0.8, 0.1, 0.999, 1e-8

# Rates at which each learns a line in a few hundred steps; the rest takes 0.03.
RATES = {"lars": 0.3, "adagrad": 0.5, "adadelta": 3.0, "novograd": 0.003, "lion": 0.003, "lamb": 0.02, "adafactor": 0.03, "muon": 0.01}

MORE = {"lars": "trust_coeff=0.1"}


def sgd(w, grads):
    w, velocity = w.copy(), np.zeros_like(w)
    for grad in grads:
        grad = grad + DECAY * w
        velocity = MOMENTUM * velocity + grad
        w -= LR * (grad + MOMENTUM * velocity)
        yield w


def adam_family(w, grads, *, decoupled, rectified):
    w, m, v = w.copy(), np.zeros_like(w), np.zeros_like(w)
    for t, grad in enumerate(grads, start=1):
        if decoupled:
            w *= 1 - LR * DECAY
        else:
            grad = grad + DECAY * w
        m = MOMENTUM * m + (1 - MOMENTUM) * grad
        v = BETA2 * v + (1 - BETA2) * grad**2
        m_hat = m / (1 - MOMENTUM**t)
        if not rectified:
            w -= LR * m_hat / (np.sqrt(v / (1 - BETA2**t)) + EPS)
        elif (r := rectifier(t)) is not None:
            w -= LR * m_hat * r * math.sqrt(1 - BETA2**t) / (np.sqrt(v) + EPS)
        else:
            w -= LR * m_hat
        yield w


def rectifier(t):
    longest = 2 / (1 - BETA2) - 1
    length = longest - 2 * t * BETA2**t / (1 - BETA2**t)
    if length <= 5:
        return None
    return math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))


def ralamb(w, grads):
    w, m, v = w.copy(), np.zeros_like(w), np.zeros_like(w)
    for t, grad in enumerate(grads, start=1):
        m = MOMENTUM * m + (1 - MOMENTUM) * grad
        v = BETA2 * v + (1 - BETA2) * grad**2
        update = m / (1 - MOMENTUM**t)
        if (r := rectifier(t)) is not None:
            update = r * update / (np.sqrt(v / (1 - BETA2**t)) + EPS)
        update = update + DECAY * w
        w -= LR * min(np.linalg.norm(w), 10) / np.linalg.norm(update) * update
        yield w


def with_lookahead(fast_weights, start):
    """Six steps forward, one back: the base goes on from what is written into its weights."""
    slow = start.copy()
    for t, fast in enumerate(fast_weights, start=1):
        if t % 6 == 0:
            slow += 0.5 * (fast - slow)
            fast[...] = slow
        yield fast


def adamw(w, grads):
    return adam_family(w, grads, decoupled=True, rectified=False)


def radam(w, grads):
    return adam_family(w, grads, decoupled=True, rectified=True)


FORMULAS = {
    "sgd": sgd,
    "adam": lambda w, grads: adam_family(w, grads, decoupled=False, rectified=False),
    "adamw": adamw,
    "radam": radam,
    "ralamb": ralamb,
    "ranger": lambda w, grads: with_lookahead(radam(w, grads), w),
    "rangerlars": lambda w, grads: with_lookahead(ralamb(w, grads), w),
    "lookahead_adam": lambda w, grads: with_lookahead(adamw(w, grads), w),
    "lookahead_sgd": lambda w, grads: with_lookahead(sgd(w, grads), w),
}


def build(name, model, **more):
    return build_optimizer(name, model, **{"lr": LR, "momentum": MOMENTUM, "weight_decay": DECAY} | more)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_optimizer_follows_its_formula_step_by_step(name):
    rng = np.random.default_rng(0)
    start, grads = rng.normal(size=(3, 4)), [rng.normal(size=(3, 4)) for _ in range(15)]
    model = nn.Linear(4, 3, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(start))
    optimizer = build(name, model)
    for grad, expected in zip(grads, FORMULAS[name](start, grads), strict=True):
        model.weight.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        np.testing.assert_allclose(model.weight.detach().numpy(), expected, rtol=1e-7, atol=1e-9)


def test_the_rectification_starts_late_and_tends_to_one():
    assert [rectification(t, 0.999) for t in (1, 4, 5)] == [None, None, None]
    assert rectification(6, 0.999) == pytest.approx(rectifier(6))
    assert rectification(100_000, 0.999) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_leaves_norms_and_biases_undecayed(name):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = {key: param.detach().clone() for key, param in model.named_parameters()}
    for param in model.parameters():
        param.grad = torch.zeros_like(param)
    optimizer = build(name, model)
    for _ in range(2):
        optimizer.step()
    moved = {key for key, param in model.named_parameters() if not torch.allclose(param, before[key], rtol=1e-6)}
    assert moved == {"0.weight"}
    assert all(param.isfinite().all() for param in model.parameters())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns_a_line(name):
    torch.manual_seed(0)
    inputs = torch.randn(64, 2)
    targets = inputs @ torch.tensor([[1.0, 0.5], [-2.0, 1.0]])
    model = nn.Linear(2, 2)
    optimizer = build_optimizer(name, model, lr=RATES.get(name, 0.03), momentum=0.9, weight_decay=0, opt_args=MORE.get(name, ""))
    for _ in range(500):
        optimizer.zero_grad()
        loss = (model(inputs) - targets).square().mean()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 2e-2


@pytest.mark.parametrize("name", ["lamb", "lars", "ralamb", "rangerlars"])
def test_layers_are_adapted_without_weight_decay_too(name):
    model = nn.Linear(4, 4)
    with torch.no_grad():
        model.weight.fill_(1.0)
    before = model.weight.detach().clone()
    optimizer = build(name, model, weight_decay=0.0, momentum=0.0)
    for param in model.parameters():
        param.grad = torch.full_like(param, 1e-4)
    optimizer.step()
    step = float((before - model.weight.detach()).norm())
    # The step is as long as the weights, times the rate; LARS has its trust coefficient of 0.001 too.
    assert step == pytest.approx(LR * 4 * (1e-3 if name == "lars" else 1), rel=1e-3)


def test_muon_turns_a_kernel_in_all_directions_alike():
    model = nn.Conv2d(2, 4, 3, bias=False)
    before = model.weight.detach().clone()
    optimizer = build("muon", model, weight_decay=0.0)
    torch.manual_seed(0)
    model.weight.grad = torch.randn_like(model.weight)
    optimizer.step()
    strengths = torch.linalg.svdvals((before - model.weight.detach()).flatten(1))
    assert float(strengths.max() / strengths.min()) < 2


def test_plain_gradient_descent_is_momentum_zero():
    model = nn.Linear(2, 1, bias=False)
    before = model.weight.detach().clone()
    optimizer = build_optimizer("sgd", model, lr=0.5, momentum=0, weight_decay=0)
    model.weight.grad = torch.ones(1, 2)
    optimizer.step()
    assert torch.allclose(model.weight, before - 0.5)


def test_the_cpu_takes_the_fused_kernels():
    assert all(build(name, nn.Linear(2, 2)).defaults["fused"] for name in ("sgd", "adam", "adamw", "adagrad"))


def test_further_arguments_outrank_the_flags():
    optimizer = build("adamw", nn.Linear(2, 2), opt_args="betas=(0.7, 0.95), eps=1e-6")
    assert optimizer.defaults["betas"] == (0.7, 0.95)
    assert optimizer.defaults["eps"] == 1e-6
    assert build("ranger", nn.Linear(2, 2), opt_args={"k": 3, "eps": 1e-5}).param_groups[0]["k"] == 3


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_names_an_argument_that_it_does_not_know(name):
    with pytest.raises(UserError, match=r"--opt_args: \w+ has no 'epsilon'.*Known: "):
        build(name, nn.Linear(2, 2), opt_args="epsilon=1")


def test_the_nearest_argument_is_offered():
    with pytest.raises(UserError, match="Did you mean betas"):
        build("adamw", nn.Linear(2, 2), opt_args="beta=(0.9,0.95)")


@pytest.mark.parametrize(
    ("name", "text"),
    [("adamw", "betas=2"), ("adamw", "betas=(1.5,0.9)"), ("ranger", "k=0"), ("ranger", "alpha=2"), ("lion", "betas=(2,2)")],
)
def test_a_value_that_an_optimizer_refuses_names_the_flag(name, text):
    with pytest.raises(UserError, match="--opt_args"):
        build(name, nn.Linear(2, 2), opt_args=text)


@pytest.mark.parametrize("text", ["0.9", "betas=", "betas=open('x')"])
def test_further_arguments_are_named_literals(text):
    with pytest.raises(UserError, match="--opt_args"):
        parse_opt_args(text)


def test_flags_cannot_be_given_twice():
    for name in ("sgd", "ranger"):
        kind = type(build(name, nn.Linear(2, 2)))
        assert not {"lr", "weight_decay", "params", "self"} & set(accepted_arguments(kind))


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


def test_an_optimizer_of_the_users_own_is_taken(tmp_path):
    file = tmp_path / "my_optimizer.py"
    file.write_text("import torch\ndef build(groups, *, lr, momentum):\n    return torch.optim.SGD(groups, lr=lr, momentum=momentum)\n")
    assert build(f"{file}:build", nn.Linear(2, 2)).defaults["momentum"] == MOMENTUM
    with pytest.raises(UserError, match="eps"):
        build(f"{file}:build", nn.Linear(2, 2), opt_args="eps=1")


def test_muon_leaves_the_classifier_to_adamw():
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Linear(6, 3, bias=False))
    optimizer = build("muon", model, head=model[1])
    fallback = {id(param): group["use_fallback"] for group in optimizer.param_groups for param in group["params"]}
    assert (fallback[id(model[0].weight)], fallback[id(model[1].weight)]) == (False, True)


def test_the_trust_ratio_takes_large_weights_for_ten():
    large, update = torch.full((100,), 5.0), torch.full((4,), 0.5)
    torch.testing.assert_close(trust_ratio(large, update), torch.tensor(10.0))
    torch.testing.assert_close(trust_ratio(large / 10, update), torch.tensor(5.0))


def test_an_optimizer_of_the_users_own_knows_the_rate_of_the_run(tmp_path):
    (tmp_path / "plain_descent.py").write_text(
        "import torch\n\n\ndef build(groups, *, lr, momentum):\n    return torch.optim.SGD(groups, momentum=momentum)\n"
    )
    optimizer = build(f"{tmp_path / 'plain_descent.py'}:build", nn.Linear(2, 2), lr=0.3)
    assert optimizer.defaults["lr"] == 0.3
