"""Costs of a network, cross-checked with torch's own counter and with pencil and paper."""

import pytest
import torch
from torch import nn

from models import build_model
from utils.networks.summary import summarize

CPU = torch.device("cpu")


def test_each_kind_of_layer_counts_as_documented() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    cost = summarize(model, (8, 8), CPU)
    convolution, norm, relu, pool, linear = 4 * 64 * 27, 4 * 64, 4 * 64, 4 * 16 * 4, 20
    assert cost.product_multiply_adds == convolution + linear
    assert cost.multiply_adds == convolution + norm + relu + pool + linear
    assert cost.parameters == 4 * 27 + 4 + 8 + 25
    # Convolution, norm, ReLU, pool, average, flat, linear: what each puts out, 4 bytes a number.
    assert cost.activation_bytes == 4 * (3 * 256 + 64 + 4 + 4 + 5)


@pytest.mark.parametrize("arch", ["resnet18", "mobilenetv3_small", "efficientnet_b0"])
def test_thop_and_torch_agree_on_products(arch: str) -> None:
    cost = summarize(build_model(arch, num_classes=10).eval(), (64, 64), CPU)
    # thop counts norms and activations on top; they are a few percent.
    assert cost.product_multiply_adds < cost.multiply_adds < 1.2 * cost.product_multiply_adds
    assert sum(layer.parameters for layer in cost.layers) == cost.parameters
    assert sum(layer.multiply_adds for layer in cost.layers) == pytest.approx(cost.multiply_adds)


def test_the_model_itself_is_left_alone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2)).train()
    before = set(model.state_dict())
    summarize(model, (8, 8), CPU)
    assert set(model.state_dict()) == before
    assert model.training
