"""Claims that hold for every loss of the table, alone and with every weighter."""

from pathlib import Path

import pytest
import torch

from criterions import CRITERIONS, WEIGHTERS
from criterions.weighted import Criterion, build_criterion, build_elementwise
from tests.criterions.conftest import draw, names, spec_of
from utils.spec import Spec

PAIRS = [(loss, weighter) for loss in CRITERIONS for weighter in (None, *WEIGHTERS)]


def build(loss: str, weighter: str | None, folder: Path, classes: int = 4, **more) -> Criterion:
    spec = [Spec(loss)] + ([spec_of(weighter, folder, classes)] if weighter else [])
    return build_criterion(spec, classes=names(classes), class_counts=range(1, classes + 1), **more)


@pytest.mark.parametrize("name", CRITERIONS)
def test_gradients_agree_with_finite_differences(name):
    terms = build_elementwise(Spec(name)).terms
    logits, targets = draw((3, 4), 5)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: terms(z, targets), (logits,))


@pytest.mark.parametrize("name", CRITERIONS)
def test_a_better_answer_costs_less(name):
    terms = build_elementwise(Spec(name)).terms
    target = torch.tensor([[0.0, 1.0, 0.0]])
    losses = [float(terms(torch.tensor([[0.0, z, 0.0]]), target).sum()) for z in (-6.0, -2.0, 0.0, 2.0, 6.0)]
    assert losses == sorted(losses, reverse=True)
    assert len(set(losses)) == 5


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", CRITERIONS)
def test_half_precision_logits_are_computed_in_float32(name, half):
    elementwise = build_elementwise(Spec(name))
    logits, targets = draw((5, 4), 0)
    logits, targets = logits.to(half), targets.float()
    assert torch.equal(elementwise.terms(logits, targets), elementwise.terms(logits.float(), targets))
    assert elementwise.terms(logits, targets).dtype == torch.float32


@pytest.mark.parametrize(("loss", "weighter"), PAIRS)
def test_extreme_half_precision_logits_give_finite_losses_and_gradients(loss, weighter, tmp_path):
    for half in (torch.float16, torch.bfloat16):
        logits = torch.tensor([[1e4, -1e4, 0.0, 1.0], [-1e4, 1e4, 1e4, -1e4], [0.0, 0.0, 0.0, 0.0]], dtype=half, requires_grad=True)
        targets = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0], [0.25, 0.25, 0.25, 0.25]])
        value = build(loss, weighter, tmp_path)(logits, targets, torch.ones(3))
        assert value.dtype == torch.float32
        assert torch.isfinite(value)
        value.backward()
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(("loss", "weighter"), PAIRS)
def test_dense_targets_smoothing_and_shifted_logits_pass_through(loss, weighter, tmp_path):
    shift = 1.0 if build_elementwise(Spec(loss)).activation == "softmax" else None
    criterion = build(loss, weighter, tmp_path, label_smoothing=0.1, logit_adjust=shift)
    logits, targets = draw((6, 4), 7)
    logits.requires_grad_()
    criterion(logits, targets, torch.rand(6, dtype=torch.float64)).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize(("loss", "weighter"), PAIRS)
def test_one_sample_and_one_class_are_enough(loss, weighter, tmp_path):
    for shape in ((1, 4), (3, 1), (1, 1)):
        logits, targets = draw(shape, 1)
        logits.requires_grad_()
        value = build(loss, weighter, tmp_path, shape[1])(logits, targets, torch.ones(shape[0], dtype=torch.float64))
        assert torch.isfinite(value)
        value.backward()


@pytest.mark.parametrize(("loss", "weighter"), PAIRS)
def test_a_sample_of_weight_zero_has_no_gradient(loss, weighter, tmp_path):
    logits, targets = draw((3, 4), 9)
    logits.requires_grad_()
    build(loss, weighter, tmp_path)(logits, targets, torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)).backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad[1], torch.zeros(4, dtype=torch.float64))
    assert logits.grad[[0, 2]].abs().sum() > 0


@pytest.mark.parametrize(("loss", "weighter"), PAIRS)
def test_a_diverged_network_is_seen_in_the_loss(loss, weighter, tmp_path):
    logits = torch.full((3, 4), float("nan"))
    value = build(loss, weighter, tmp_path)(logits, torch.eye(4)[:3], torch.ones(3))
    assert value.isnan()


@pytest.mark.parametrize("name", CRITERIONS)
def test_the_precision_of_autocast_stays_outside(name, tmp_path):
    criterion = build(name, "cost", tmp_path).eval()
    logits, targets = draw((5, 4), 0)
    logits, targets, ones = logits.float(), targets.float(), torch.ones(5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = criterion(logits, targets, ones)
    assert torch.equal(inside, criterion(logits, targets, ones))
