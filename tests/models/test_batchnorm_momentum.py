"""Batch-norm momentum follows the length of an epoch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import nn

from models import build_model
from models.batchnorm_momentum import bn_momentum_for, set_bn_momentum
from utils.errors import UserError


@given(published=st.floats(0.001, 0.5), steps=st.integers(44, 100_000))
def test_after_a_thirtieth_of_an_epoch_a_batch_has_lost_most_of_its_weight(published, steps):
    momentum = bn_momentum_for(published, steps)
    assert momentum >= published
    assert (1 - momentum) ** (steps / 30) <= 0.3679


def test_the_shortest_epochs_keep_an_average_of_batches_and_long_ones_the_published_value():
    assert bn_momentum_for(0.01, 1) == bn_momentum_for(0.1, 43) == 0.5
    assert bn_momentum_for(0.01, 92) == pytest.approx(0.2783, abs=1e-4)
    assert bn_momentum_for(0.01, 1000) == pytest.approx(0.02955, abs=1e-5)
    assert bn_momentum_for(0.01, 40_000) == 0.01
    assert bn_momentum_for(0.1, 300) == 0.1
    assert bn_momentum_for(0.6, 10) == 0.6


def layers() -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(2, momentum=0.01), nn.BatchNorm2d(2), nn.BatchNorm1d(2, momentum=None), nn.SyncBatchNorm(2, momentum=0.01)
    )


def test_auto_raises_what_is_too_low_and_says_so():
    net = layers()
    line = set_bn_momentum(net, "auto", steps_per_epoch=500)
    raised = pytest.approx(0.0582, abs=1e-4)
    assert [layer.momentum for layer in net] == [raised, 0.1, None, raised]
    assert line == "batch-norm momentum 0.01 -> 0.0582 in 2 layers, for epochs of 500 steps"


def test_published_changes_nothing_and_says_nothing():
    net = layers()
    assert set_bn_momentum(net, "published", steps_per_epoch=50) == ""
    assert [layer.momentum for layer in net] == [0.01, 0.1, None, 0.01]
    assert set_bn_momentum(build_model("resnet18", num_classes=2), "auto", steps_per_epoch=300) == ""


def test_a_number_is_set_everywhere():
    net = layers()
    assert "as asked" in set_bn_momentum(net, "0.3", steps_per_epoch=50)
    assert [layer.momentum for layer in net] == [0.3, 0.3, None, 0.3]


@pytest.mark.parametrize("rule", ["fast", "0", "1.5", "-0.1", "nan", ""])
def test_anything_else_is_refused_and_the_flag_is_named(rule):
    with pytest.raises(UserError, match="--bn_momentum"):
        set_bn_momentum(layers(), rule, steps_per_epoch=50)


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    data = load_digits()
    images = torch.from_numpy(np.repeat(np.repeat(data.images, 2, 1), 2, 2)).float() / 8 - 1
    return images[:, None].expand(-1, 3, -1, -1), torch.from_numpy(data.target)


@pytest.mark.parametrize(("rule", "low", "high"), [("auto", 0.6, 1.0), pytest.param("published", 0.0, 0.3, marks=pytest.mark.slow)])
def test_a_short_training_evaluates_well_with_auto_and_at_chance_as_published(rule, low, high):
    torch.manual_seed(0)
    images, labels = digits()
    net = build_model("mobilenetv3_small", num_classes=10, drop_rate=0.0)
    set_bn_momentum(net, rule, steps_per_epoch=22)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    net.train()
    for _ in range(3):
        for picked in torch.randperm(1408).split(64):
            loss = nn.functional.cross_entropy(net(images[picked]), labels[picked])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    net.eval()
    with torch.inference_mode():
        accuracy = (net(images[1408:]).argmax(1) == labels[1408:]).float().mean().item()
    assert low <= accuracy <= high


def test_one_is_not_several() -> None:
    line = set_bn_momentum(nn.Sequential(nn.BatchNorm2d(2, momentum=0.01)), "auto", steps_per_epoch=1)
    assert line.endswith("in 1 layer, for epochs of 1 step")
