"""Claims that hold for every weighter of the table."""

import itertools

import pytest
import torch

from criterions import WEIGHTERS
from criterions.elementwise import ACTIVATIONS
from criterions.weighted import build_criterion
from tests.criterions.conftest import draw, names, spec_of
from utils.spec import Spec

CLASSES = 4


def build(*weighters: str, folder, loss: str = "bce"):
    spec = [Spec(loss), *(spec_of(name, folder, CLASSES) for name in weighters)]
    return build_criterion(spec, classes=names(CLASSES), class_counts=[50, 20, 5, 1])


def batch(seed: int):
    logits, targets = draw((8, CLASSES), seed)
    return logits, targets, torch.ones(8, dtype=torch.float64)


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize("name", WEIGHTERS)
def test_factors_are_not_negative_and_fit_the_terms(name, kind, tmp_path):
    (weighter,) = build(name, folder=tmp_path).weighters.values()
    logits, targets, _ = batch(0)
    probabilities = ACTIVATIONS[kind].probabilities(logits)
    factors = weighter(probabilities, targets, hardness=ACTIVATIONS[kind].hardness(probabilities, targets))
    assert torch.broadcast_shapes(factors.shape, logits.shape) == logits.shape
    assert (factors >= 0).all()
    assert torch.isfinite(factors).all()


@pytest.mark.parametrize("loss", ["softmax", "bce"])
@pytest.mark.parametrize("name", WEIGHTERS)
def test_a_weighter_changes_the_loss_and_no_gradient_flows_through_it(name, loss, tmp_path):
    weighted, plain = build(name, folder=tmp_path, loss=loss), build(folder=tmp_path, loss=loss)
    logits, targets, ones = batch(2)
    assert not torch.allclose(weighted(logits, targets, ones), plain(logits, targets, ones))
    weighted.eval()
    logits.requires_grad_()
    kind = ACTIVATIONS[plain.activation]
    with torch.no_grad():
        probabilities = kind.probabilities(logits)
        factors = weighted.weighters[name](probabilities, targets, hardness=kind.hardness(probabilities, targets))
        wanted = weighted.weighters[name].retarget(targets)
        if weighted.weighters[name].SCALE != "own":
            shares = kind.shares(targets)
            factors = factors / ((factors * shares).sum() / shares.sum())
    expected = torch.autograd.grad((kind.plain(logits, wanted) * factors).sum(1).mean(), logits)[0]
    found = torch.autograd.grad(weighted(logits, targets, ones), logits)[0]
    assert torch.allclose(found, expected)


@pytest.mark.parametrize("name", WEIGHTERS)
def test_state_survives_saving_and_gives_the_same_next_loss(name, tmp_path):
    first, second = build(name, folder=tmp_path), build(name, folder=tmp_path)
    first(*batch(0))
    first(*batch(1))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(*batch(2)), second(*batch(2)))


@pytest.mark.parametrize("name", WEIGHTERS)
def test_state_rests_in_evaluation(name, tmp_path):
    criterion = build(name, folder=tmp_path)
    criterion(*batch(0))
    before = {key: value.clone() for key, value in criterion.state_dict().items()}
    criterion.eval()
    first = criterion(*batch(1))
    assert torch.equal(criterion(*batch(1)), first)
    assert all(torch.equal(value, before[key]) for key, value in criterion.state_dict().items())


@pytest.mark.parametrize("name", WEIGHTERS)
def test_a_second_look_weighs_as_evaluation_does_and_moves_nothing(name, tmp_path):
    criterion = build(name, folder=tmp_path)
    criterion(*batch(0))
    before = {key: value.clone() for key, value in criterion.state_dict().items()}
    second = criterion(*batch(1), record=False)
    assert all(torch.equal(value, before[key]) for key, value in criterion.state_dict().items())
    assert torch.equal(second, criterion.eval()(*batch(1)))


def test_all_of_them_together_multiply_in_any_order(tmp_path):
    every = [name for name in WEIGHTERS if name != "threshold"]
    values = {float(build(*order, folder=tmp_path)(*batch(3))) for order in itertools.islice(itertools.permutations(every), 24)}
    assert max(values) == pytest.approx(min(values), rel=1e-12)
