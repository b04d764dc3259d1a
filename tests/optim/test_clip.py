"""Claims about clipping, against the papers' formulas in numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from optim.clip import build_clip, unit_norms
from utils.errors import UserError


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    for param in model.parameters():
        param.grad = torch.randn_like(param)
    return model


def grads(model):
    return {name: param.grad.numpy().copy() for name, param in model.named_parameters()}


def test_norm_scales_all_gradients_by_one_factor(model):
    before = grads(model)
    norm = np.sqrt(sum((grad**2).sum() for grad in before.values()))
    build_clip("norm", 0.5)(list(model.parameters()))
    for name, grad in grads(model).items():
        np.testing.assert_allclose(grad, before[name] * 0.5 / norm, rtol=1e-4)


def test_value_cuts_every_element(model):
    before = grads(model)
    build_clip("value", 0.3)(list(model.parameters()))
    for name, grad in grads(model).items():
        np.testing.assert_allclose(grad, np.clip(before[name], -0.3, 0.3))


def test_agc_limits_every_unit_by_the_norm_of_its_weights_and_spares_the_classifier(model):
    before, weights = grads(model), {name: param.detach().numpy() for name, param in model.named_parameters()}
    build_clip("agc", 0.1, head=model[2])(list(model.parameters()))
    after = grads(model)
    for name in ("2.weight", "2.bias"):
        np.testing.assert_array_equal(after[name], before[name])
    for unit in range(4):
        longest = 0.1 * max(np.linalg.norm(weights["0.weight"][unit]), 1e-3)
        factor = min(1, longest / np.linalg.norm(before["0.weight"][unit]))
        np.testing.assert_allclose(after["0.weight"][unit], before["0.weight"][unit] * factor, rtol=1e-5)
    assert np.linalg.norm(after["0.bias"]) == pytest.approx(0.1 * np.linalg.norm(weights["0.bias"]), rel=1e-4)


@pytest.mark.parametrize("mode", ["norm", "value", "agc"])
def test_small_gradients_and_missing_ones_are_left_alone(model, mode):
    for param in model.parameters():
        param.grad *= 1e-6
    model[0].bias.grad = None
    before = model[0].weight.grad.clone()
    build_clip(mode, 1.0)(list(model.parameters()))
    assert torch.equal(model[0].weight.grad, before)


def test_a_scalar_is_a_unit():
    assert float(unit_norms(torch.tensor(-3.0))) == 3


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_limit_that_cannot_clip_names_the_flag(limit):
    with pytest.raises(UserError, match="--clip_grad"):
        build_clip("norm", limit)


def test_agc_lets_weights_at_zero_move():
    layer = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(layer.weight)
    layer.weight.grad = torch.tensor([[3.0, 4.0]])
    build_clip("agc", 0.1)([layer.weight])
    # The paper's epsilon stands for the norm of the weights.
    torch.testing.assert_close(layer.weight.grad.norm(), torch.tensor(0.1 * 1e-3))
