"""Layers that round to 8 bits while they learn."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from models import build_model
from models.quantization_aware import rounded_input, rounded_weight, train_in_eight_bits
from utils.errors import UserError


def numpy_weight(weight: np.ndarray) -> np.ndarray:
    steps = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 127
    return np.round(weight / steps) * steps


def test_weights_are_rounded_for_every_output_channel() -> None:
    weight = torch.randn(5, 3, 2, 2) * torch.tensor([1.0, 1e-3, 30.0, 0.2, 5.0]).view(-1, 1, 1, 1)
    np.testing.assert_allclose(rounded_weight(weight, 0).numpy(), numpy_weight(weight.numpy()), rtol=1e-5, atol=1e-7)
    turned = rounded_weight(weight.transpose(0, 1), 1).transpose(0, 1)
    assert torch.equal(turned, rounded_weight(weight, 0))


def test_a_batch_norm_may_be_joined_before_or_after() -> None:
    weight, factor = torch.randn(4, 3, 3, 3), torch.tensor([0.3, -2.0, 11.0, 1e-4]).view(-1, 1, 1, 1)
    torch.testing.assert_close(rounded_weight(weight * factor, 0), rounded_weight(weight, 0) * factor)


def test_inputs_are_rounded_between_the_mean_ends_of_the_images() -> None:
    x = torch.stack([torch.linspace(-1, 3, 60), torch.linspace(-3, 7, 60)]).view(2, 3, 4, 5)
    found = rounded_input(x)
    assert found.min() == pytest.approx(-2, abs=0.03), "the ends are -1 and -3, 3 and 7"
    assert found.max() == pytest.approx(5, abs=0.03)
    inside = (x > -1.9) & (x < 4.9)
    assert (found - x)[inside].abs().max() <= 7 / 255 / 2 + 1e-5
    assert len(found.unique()) <= 256
    padded = torch.cat([torch.zeros(2, 1), torch.rand(2, 8) - 0.3], dim=1)
    assert torch.equal(rounded_input(padded)[:, 0], padded[:, 0]), "zero, which pads images, is exact"


def test_the_gradient_passes_except_where_values_are_cut_off() -> None:
    x = torch.tensor([[-4.0, 0.5, 1.0], [-2.0, 0.2, 1.0]], requires_grad=True)
    rounded_input(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0, 1, 1], [1, 1, 1]]


def test_only_training_is_rounded_and_names_stay() -> None:
    plain = build_model("mobilenetv3_small", num_classes=3)
    network = copy.deepcopy(plain)
    assert train_in_eight_bits(network) == sum(isinstance(each, nn.Conv2d | nn.Linear) for each in plain.modules())
    assert list(network.state_dict()) == list(plain.state_dict())
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(network.eval()(x), plain.eval()(x))
    assert torch.equal(copy.deepcopy(network)(x), plain(x))
    network.train()
    plain.train()
    torch.manual_seed(0)
    one = network(x)
    torch.manual_seed(0)
    assert 1e-4 < (one - plain(x)).abs().max() < 1.0
    one.square().sum().backward()
    assert all(value.grad is not None for value in network.parameters())


def test_a_failing_layer_leaves_its_weights_alone() -> None:
    network = nn.Sequential(nn.Linear(3, 2))
    train_in_eight_bits(network)
    with pytest.raises(RuntimeError):
        network(torch.zeros(2, 5))
    assert network[0].weight is network[0].get_parameter("weight")


def test_a_network_without_such_layers_is_refused() -> None:
    with pytest.raises(UserError, match="--qat"):
        train_in_eight_bits(nn.Sequential(nn.ReLU()))
