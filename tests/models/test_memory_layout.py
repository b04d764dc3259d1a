"""Networks that are slower with channels last see rows of pixels, whatever the layout of their images."""

import copy

import pytest
import torch
from torch import nn

from models import list_models
from models.memory_layout import SLOWER_CHANNELS_LAST, is_slower_channels_last, lay_out


def seen_by(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The maps that the second convolution of a network is given."""
    seen = []
    handle = net[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net(images)
    handle.remove()
    return seen[0]


@pytest.fixture
def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)).requires_grad_(False)


IMAGES = torch.randn(2, 3, 12, 10).to(memory_format=torch.channels_last)


def test_rows_reach_the_inside_though_images_come_as_channels_last(net):
    assert seen_by(net, IMAGES).is_contiguous(memory_format=torch.channels_last)
    expected = net(IMAGES)
    laid = lay_out(net.to(memory_format=torch.channels_last), torch.contiguous_format)
    assert laid[0].weight.is_contiguous()
    assert seen_by(laid, IMAGES).is_contiguous()
    torch.testing.assert_close(laid(IMAGES), expected)
    assert seen_by(copy.deepcopy(laid), IMAGES).is_contiguous(), "averages of weights are copies of the network"


def test_channels_last_reaches_the_inside(net):
    laid = lay_out(net, torch.channels_last)
    assert laid[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert seen_by(laid, IMAGES).is_contiguous(memory_format=torch.channels_last)


def test_names_are_those_of_the_network_that_computes():
    for device in (torch.device("cuda", 1), torch.device("cpu")):
        assert is_slower_channels_last("resnest50", device)
        assert is_slower_channels_last("timm/resnest50d", device)
        assert not is_slower_channels_last("resnet50", device)
    assert not is_slower_channels_last("resnest50", torch.device("mps"))


@pytest.mark.parametrize("kind", SLOWER_CHANNELS_LAST)
def test_every_pattern_names_a_network(kind):
    for pattern in SLOWER_CHANNELS_LAST[kind]:
        assert "/" in pattern or list_models(pattern), pattern
