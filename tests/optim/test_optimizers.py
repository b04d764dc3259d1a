"""Claims about the optimizers: ours and torch's core follow their papers' formulas, written here in float64 numpy."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from optim import OPTIMIZERS
from optim.adahessian import AdaHessian
from optim.optimizer_name import OptimizerName, read_optimizer
from optim.optimizers import accepted_arguments, build_optimizer, parse_opt_args
from optim.ralamb import rectification, trust_ratio
from utils.errors import UserError

LR, MOMENTUM, DECAY, BETA2, EPS = 0.05, 0.8, 0.1, 0.999, 1e-8

# Rates at which each learns a line in a few hundred steps; the rest takes 0.03.
RATES = {"lars": 0.3, "nlars": 0.3, "adagrad": 0.5, "adadelta": 3.0, "novograd": 0.003, "lion": 0.003}
RATES |= {"lamb": 0.02, "adafactor": 0.03, "muon": 0.01}

MORE = {"lars": "trust_coeff=0.1", "nlars": "trust_coeff=0.1"}


def sgd(w, grads, *, nesterov=True):
    w, velocity = w.copy(), np.zeros_like(w)
    for grad in grads:
        grad = grad + DECAY * w
        velocity = MOMENTUM * velocity + grad
        w -= LR * (grad + MOMENTUM * velocity if nesterov else velocity)
        yield w


def adopt(w, grads):
    """Algorithm 2 of arXiv 2411.02853, with decoupled decay: the first gradient only starts v."""
    w, m, v = w.copy(), np.zeros_like(w), grads[0] ** 2
    yield w
    for t, grad in enumerate(grads[1:], start=1):
        w *= 1 - LR * DECAY
        m = MOMENTUM * m + (1 - MOMENTUM) * np.clip(grad / np.maximum(np.sqrt(v), 1e-6), -(t**0.25), t**0.25)
        w -= LR * m
        v = 0.9999 * v + 0.0001 * grad**2
        yield w


def adabelief(w, grads, *, rectified):
    w, m, s = w.copy(), np.zeros_like(w), np.zeros_like(w)
    for t, grad in enumerate(grads, start=1):
        w *= 1 - LR * DECAY
        m = MOMENTUM * m + (1 - MOMENTUM) * grad
        s = BETA2 * s + (1 - BETA2) * (grad - m) ** 2
        m_hat, s_hat = m / (1 - MOMENTUM**t), s / (1 - BETA2**t)
        r = rectifier(t) if rectified else 1.0
        w -= LR * m_hat if r is None else LR * r * m_hat / np.sqrt(s_hat)
        yield w


def rmsproptf(w, grads):
    w, square, velocity = w.copy(), np.ones_like(w), np.zeros_like(w)
    for grad in grads:
        grad = grad + DECAY * w
        square = 0.9 * square + 0.1 * grad**2
        velocity = MOMENTUM * velocity + LR * grad / np.sqrt(square + 1e-10)
        w -= velocity
        yield w


def lars(w, grads, *, nesterov, clipped):
    w, velocity = w.copy(), np.zeros_like(w)
    for grad in grads:
        local = 0.001 * np.linalg.norm(w) / (np.linalg.norm(grad) + DECAY * np.linalg.norm(w) + 1e-8)
        grad = (grad + DECAY * w) * (min(local / LR, 1.0) if clipped else local)
        velocity = MOMENTUM * velocity + grad
        w -= LR * (grad + MOMENTUM * velocity if nesterov else velocity)
        yield w


def lambc(w, grads):
    w, m, v = w.copy(), np.zeros_like(w), np.zeros_like(w)
    for t, grad in enumerate(grads, start=1):
        m = MOMENTUM * m + (1 - MOMENTUM) * grad
        v = BETA2 * v + (1 - BETA2) * grad**2
        update = m / (1 - MOMENTUM**t) / (np.sqrt(v / (1 - BETA2**t)) + 1e-6) + DECAY * w
        w -= LR * min(np.linalg.norm(w) / np.linalg.norm(update), 1.0) * update
        yield w


def radial_part_removed(w, grad, update):
    """Formula 7 of arXiv 2006.08217 and its condition, unit by unit and then for the whole layer; with the share of the decay."""
    for rows in (w, w.reshape(1, -1)):
        shape = rows.shape
        g, u = grad.reshape(shape), update.reshape(shape)
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        cosines = np.abs((rows * g).sum(1)) / np.maximum(length[:, 0] * np.linalg.norm(g, axis=1), EPS)
        if cosines.max() < 0.1 / math.sqrt(shape[1]):
            unit = rows / (length + EPS)
            return (u - unit * (unit * u).sum(1, keepdims=True)).reshape(w.shape), 0.1
    return update, 1.0


def adamp(w, grads):
    w, m, v = w.copy(), np.zeros_like(w), np.zeros_like(w)
    for t, grad in enumerate(grads, start=1):
        m = MOMENTUM * m + (1 - MOMENTUM) * grad
        v = BETA2 * v + (1 - BETA2) * grad**2
        update, share = radial_part_removed(w, grad, m / (np.sqrt(v / (1 - BETA2**t)) + EPS))
        w *= 1 - LR * DECAY * share
        w -= LR / (1 - MOMENTUM**t) * update
        yield w


def sgdp(w, grads):
    w, velocity = w.copy(), np.zeros_like(w)
    for grad in grads:
        velocity = MOMENTUM * velocity + grad
        update, share = radial_part_removed(w, grad, grad + MOMENTUM * velocity)
        w *= 1 - LR * DECAY * share / (1 - MOMENTUM)
        w -= LR * update
        yield w


def madgradw(w, grads):
    w, start, total, squares = w.copy(), w.copy(), np.zeros_like(w), np.zeros_like(w)
    for t, grad in enumerate(grads, start=1):
        w *= 1 - LR * DECAY
        step = (LR + 1e-6) * math.sqrt(t)
        total, squares = total + step * grad, squares + step * grad**2
        w *= MOMENTUM
        w += (1 - MOMENTUM) * (start - total / (np.cbrt(squares) + 1e-6))
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
    "lookahead": lambda w, grads: with_lookahead(adamw(w, grads), w),
    "lookahead(sgd)": lambda w, grads: with_lookahead(sgd(w, grads), w),
    "lookahead(rmsproptf)": lambda w, grads: with_lookahead(rmsproptf(w, grads), w),
    "momentum": lambda w, grads: sgd(w, grads, nesterov=False),
    "adopt": adopt,
    "adabelief": lambda w, grads: adabelief(w, grads, rectified=False),
    "radabelief": lambda w, grads: adabelief(w, grads, rectified=True),
    "rmsproptf": rmsproptf,
    "nlars": lambda w, grads: lars(w, grads, nesterov=True, clipped=False),
    "larc": lambda w, grads: lars(w, grads, nesterov=False, clipped=True),
    "nlarc": lambda w, grads: lars(w, grads, nesterov=True, clipped=True),
    "lambc": lambc,
    "adamp": adamp,
    "sgdp": sgdp,
    "madgradw": madgradw,
}


def build(name, model, **more):
    return build_optimizer(name, model, **{"lr": LR, "momentum": MOMENTUM, "weight_decay": DECAY} | more)


def look(optimizer, step):
    """Do what the stepper does before a step."""
    if isinstance(optimizer, AdaHessian):
        optimizer.look(step)


def follow_formula(name: str, start: np.ndarray, grads: list[np.ndarray]) -> None:
    """Step from `start` with these gradients; after each the weights are those of the formula."""
    model = nn.Linear(start.shape[1], start.shape[0], bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(start))
    optimizer = build(name, model)
    for grad, expected in zip(grads, FORMULAS[name](start, grads), strict=True):
        model.weight.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        np.testing.assert_allclose(model.weight.detach().numpy(), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_optimizer_follows_its_formula_step_by_step(name):
    rng = np.random.default_rng(0)
    follow_formula(name, rng.normal(size=(3, 4)), [rng.normal(size=(3, 4)) for _ in range(15)])


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
    for step in range(2):
        look(optimizer, step)
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
    for step in range(500):
        loss = (model(inputs) - targets).square().mean()
        for param, grad in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters()), create_graph=True), strict=True):
            param.grad = grad
        look(optimizer, step)
        for param in model.parameters():
            param.grad = param.grad.detach()
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
    assert build("ranger", nn.Linear(2, 2), opt_args={"k": 3, "eps": 1e-5}).k == 3


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
    for name in ("sgd", "adahessian"):
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


def test_a_mapping_of_a_config_file_is_no_optimizer():
    with pytest.raises(UserError, match=r"opt: \{'type': 'sgd'\} is no name; write opt: sgd"):
        read_optimizer({"type": "sgd"})


def test_an_optimizer_of_the_users_own_is_taken(tmp_path):
    file = tmp_path / "my_optimizer.py"
    file.write_text("import torch\ndef build(groups, *, lr, momentum):\n    return torch.optim.SGD(groups, lr=lr, momentum=momentum)\n")
    assert build(f"{file}:build", nn.Linear(2, 2)).defaults["momentum"] == MOMENTUM
    with pytest.raises(UserError, match="eps"):
        build(f"{file}:build", nn.Linear(2, 2), opt_args="eps=1")


def test_muon_leaves_the_classifier_and_single_channels_to_adamw():
    model = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.Linear(4, 6), nn.Linear(6, 3))
    optimizer = build("muon", model, head=model[2])
    turned = {id(param): group["use_muon"] for group in optimizer.param_groups for param in group["params"]}
    assert {name for name, param in model.named_parameters() if turned[id(param)]} == {"1.weight"}


def test_muon_takes_the_nesterov_step_of_its_source():
    """Against torch's Muon, with the source's iteration and matrices alone."""
    torch.manual_seed(0)
    ours, theirs = nn.Linear(8, 12, bias=False), nn.Linear(8, 12, bias=False)
    theirs.load_state_dict(ours.state_dict())
    optimizer = build("muon", ours, opt_args="ns_coefficients=original")
    reference = torch.optim.Muon(theirs.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        grad = torch.randn_like(ours.weight)
        for model, stepping in ((ours, optimizer), (theirs, reference)):
            model.weight.grad = grad.clone()
            stepping.step()
    # Both turn in bfloat16, in another order of operations; without Nesterov they differ by 0.1.
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=0, atol=5e-3)


def test_what_muon_does_not_turn_takes_adamw():
    torch.manual_seed(0)
    ours, theirs = nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 6, 3, groups=6)
    theirs.load_state_dict(ours.state_dict())
    optimizer, reference = build("muon", ours), build("adamw", theirs, opt_args="betas=(0.9,0.95),eps=1e-7")
    for _ in range(5):
        grads = [torch.randn_like(param) for param in ours.parameters()]
        for model, stepping in ((ours, optimizer), (theirs, reference)):
            for param, grad in zip(model.parameters(), grads, strict=True):
                param.grad = grad.clone()
            stepping.step()
    torch.testing.assert_close(list(ours.parameters()), list(theirs.parameters()))


@pytest.mark.parametrize("name", ["adamp", "sgdp"])
def test_a_gradient_across_the_weights_never_lengthens_them_to_first_order(name):
    start = np.array([[3.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]])
    grads = [np.array([[0.0, 1.0, -2.0, 0.5], [1.0, 0.0, 0.5, 2.0]]), np.array([[0.0, 3.0, 0.2, 0.1], [0.3, 0.0, 0.2, 0.1]])]
    follow_formula(name, start, grads)
    # The first step was projected: a tenth of the decay.
    first = next(FORMULAS[name](start, grads[:1]))
    assert first[0, 0] == pytest.approx(3 * (1 - LR * DECAY * 0.1 / (1 if name == "adamp" else 1 - MOMENTUM)))


def curved(model, strength):
    """A loss whose Hessian is diagonal, so that every draw of signs finds it exactly: 12 strength x w^2 for strength x w^4."""
    return (strength * model.weight**4).sum()


def test_adahessian_follows_its_formula_and_timms():
    from timm.optim.adahessian import Adahessian

    rng = np.random.default_rng(0)
    start, strengths = rng.normal(size=(3, 4)), [np.abs(rng.normal(size=(3, 4))) for _ in range(8)]
    ours, theirs = nn.Linear(4, 3, bias=False, dtype=torch.float64), nn.Linear(4, 3, bias=False, dtype=torch.float64)
    for model in (ours, theirs):
        with torch.no_grad():
            model.weight.copy_(torch.from_numpy(start))
    optimizer = build("adahessian", ours, opt_args={"eps": EPS})
    reference = Adahessian(theirs.parameters(), lr=LR, betas=(MOMENTUM, BETA2), eps=EPS, weight_decay=DECAY)
    w, m, v = start.copy(), np.zeros((3, 4)), np.zeros((3, 4))
    for t, strength in enumerate(strengths, start=1):
        ours.weight.grad = torch.autograd.grad(curved(ours, torch.from_numpy(strength)), ours.weight, create_graph=True)[0]
        optimizer.look(t - 1)
        assert not ours.weight.grad.requires_grad
        optimizer.step()
        theirs.weight.grad = torch.autograd.grad(curved(theirs, torch.from_numpy(strength)), theirs.weight, create_graph=True)[0]
        reference.step()
        m = MOMENTUM * m + (1 - MOMENTUM) * 4 * strength * w**3
        v = BETA2 * v + (1 - BETA2) * (12 * strength * w**2) ** 2
        w = w * (1 - LR * DECAY) - LR * m / (1 - MOMENTUM**t) / (np.sqrt(v / (1 - BETA2**t)) + EPS)
        np.testing.assert_allclose(ours.weight.detach().numpy(), w, rtol=1e-9)
        np.testing.assert_allclose(theirs.weight.detach().numpy(), w, rtol=1e-9)


def test_the_curvature_of_a_kernel_is_averaged_over_its_positions():
    model = nn.Conv2d(2, 3, 3, bias=False)
    optimizer = build("adahessian", model)
    model.weight.grad = torch.autograd.grad((model.weight**4).sum(), model.weight, create_graph=True)[0]
    optimizer.look(0)
    expected = (12 * model.weight.detach() ** 2).mean((2, 3), keepdim=True).expand_as(model.weight)
    torch.testing.assert_close(optimizer.state[model.weight]["curvature"], expected)


def test_a_function_without_second_derivative_is_named():
    model = nn.Linear(3, 1, bias=False)
    optimizer = build("adahessian", model)
    loss = nn.functional.hardsigmoid(model(torch.ones(1, 3))).sum()
    model.weight.grad = torch.autograd.grad(loss, model.weight, create_graph=True)[0]
    with pytest.raises(UserError, match="no second derivative of hardsigmoid"):
        optimizer.look(0)


def test_random_signs_find_the_diagonal_of_a_hessian_in_the_mean():
    torch.manual_seed(0)
    mixed = torch.randn(6, 6, dtype=torch.float64)
    hessian = mixed @ mixed.T
    model = nn.Linear(6, 1, bias=False, dtype=torch.float64)
    optimizer = build("adahessian", model, opt_args="samples=4000")
    loss = 0.5 * (model.weight @ hessian @ model.weight.T).sum()
    model.weight.grad = torch.autograd.grad(loss, model.weight, create_graph=True)[0]
    optimizer.look(0)
    torch.testing.assert_close(optimizer.state[model.weight]["curvature"][0], hessian.diagonal(), rtol=0.1, atol=0.3)


@pytest.mark.parametrize("spelling", ["lookahead(adam)", "lookahead_adam", "lookaheadadam", "LookaheadAdam", "lookahead( 'adam' )"])
def test_lookahead_goes_around_what_it_names(spelling):
    assert read_optimizer(spelling) == OptimizerName("lookahead", "adam")


def test_names_are_taken_in_capitals_and_nesterov_is_sgd():
    assert [read_optimizer(name).name for name in ("RAdam", "nesterov", "RangerLars", "lookahead")] == [
        "radam",
        "sgd",
        "rangerlars",
        "lookahead",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lookahead(ranger)", "has Lookahead already"),
        ("lookahead(lookahead(sgd))", "unknown optimizer"),
        ("lookahead(adamx)", "Did you mean adam"),
        ("sgd(0.9)", "--opt_args '0.9'"),
        ("lookaheadadamz", "unknown optimizer 'adamz'"),
    ],
)
def test_a_name_that_means_nothing_is_refused(name, message):
    with pytest.raises(UserError, match=re.escape(message)):
        read_optimizer(name)


def test_lookahead_goes_around_an_optimizer_of_the_users_own(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\n\n\ndef build(groups, *, lr, momentum):\n    return torch.optim.SGD(groups, momentum=momentum)\n"
    )
    optimizer = build(f"lookahead({tmp_path / 'mine.py'}:build)", nn.Linear(2, 2), opt_args="k=3")
    assert (optimizer.k, optimizer.kind, optimizer.defaults["lr"]) == (3, "Lookahead(SGD)", LR)


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
