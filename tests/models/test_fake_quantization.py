"""Layers that compute in rounded numbers: the numbers of exported files, ordinary weights, gradients that pass."""

import copy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.depthwise_gradients import speed_up_depthwise_gradients
from models.fake_quantization import (
    FIRST_STEPS,
    STEPS,
    fake_quantize,
    image_range,
    input_ranges,
    load_input_ranges,
    rounded_input,
    rounded_weight,
)
from models.recompute import recompute_blocks
from optim.param_groups import frozen_norms


def small_net() -> Any:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(8 * 36, 4))
    return nn.Sequential(*layers)


IMAGES = torch.randn(6, 3, 10, 10, generator=torch.Generator().manual_seed(1))


def test_a_weight_has_whole_steps_of_a_size_for_every_channel() -> None:
    weight = torch.randn(5, 4, 3, 3) * torch.tensor([1e-3, 1.0, 30.0, 0.2, 1.0]).view(-1, 1, 1, 1)
    found = rounded_weight(weight, STEPS).numpy()
    steps = np.abs(weight.numpy()).max((1, 2, 3), keepdims=True) / 127
    np.testing.assert_allclose(found, np.round(weight.numpy() / steps) * steps, rtol=1e-5, atol=1e-8)
    assert rounded_weight(torch.zeros(2, 3), STEPS).equal(torch.zeros(2, 3))
    assert rounded_weight(torch.linspace(-1, 1, 999)[None], FIRST_STEPS).unique().numel() in (127, 129), "7 bits"


def test_rounding_before_a_batch_norm_is_rounding_of_what_both_are_joined_to() -> None:
    conv, norm = nn.Conv2d(4, 6, 3, bias=False).eval(), nn.BatchNorm2d(6).eval()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, -2.0, 1e3, 1e-3, 0.5, 3.0]))
        assert norm.running_var is not None
        norm.running_var.uniform_(0.1, 4.0)
        joined = rounded_weight(fuse_conv_bn_eval(conv, norm).weight, STEPS)
        conv.weight.copy_(rounded_weight(conv.weight, STEPS))
    torch.testing.assert_close(fuse_conv_bn_eval(conv, norm).weight, joined)


def test_an_input_has_255_steps_of_which_zero_is_one() -> None:
    x, limits = torch.linspace(-0.7, 5.0, 1001), torch.tensor([-0.5, 4.0])
    found = rounded_input(x, limits)
    step = found.diff().max()
    assert 4.5 / 255 <= step < 4.6 / 255, "a little larger, so that zero is a step"
    assert 0.0 in rounded_input(torch.tensor([0.0]), limits)
    inside = (x > -0.5) & (x < 4.0)
    assert (found - x)[inside].abs().max() <= step * 0.5001 + 1e-6
    assert found.min() <= -0.5
    assert found.max() >= 4.0 - 1e-6
    assert found.unique().numel() in (255, 256)
    assert rounded_input(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 3.0])).min() > 0.99, "the range reaches to zero"


def test_the_range_of_a_batch_is_the_mean_of_its_images() -> None:
    x = torch.tensor([[-1.0, 0.0, 2.0], [-3.0, 1.0, 6.0]]).view(2, 3, 1, 1)
    assert image_range(x).tolist() == [-2.0, 4.0]


def test_names_and_weights_stay_and_copies_share_nothing() -> None:
    net = small_net()
    before = copy.deepcopy(net.state_dict())
    assert fake_quantize(net) == 3
    twin = copy.deepcopy(net)
    net.train()(IMAGES)
    assert net.state_dict().keys() == before.keys()
    assert all(value.isnan().all() for value in input_ranges(twin).values()), "a copy has ranges of its own"
    assert net[0].weight_steps == FIRST_STEPS
    assert net[3].weight_steps == net[5].weight_steps == STEPS
    assert torch.equal(net.state_dict()["0.weight"], before["0.weight"])
    assert not torch.equal(net[0].weight, before["0.weight"])


def test_layers_compute_with_rounded_numbers_and_gradients_pass_but_where_cut_off() -> None:
    layer: Any = nn.Sequential(nn.Linear(4, 3))
    weight, bias = (value.detach().clone().requires_grad_() for value in (layer[0].weight, layer[0].bias))
    fake_quantize(layer)
    x = torch.tensor([[0.0, 1.0, 2.0, 3.0], [0.0, 0.5, 4.0, 9.0]], requires_grad=True)
    answer = layer.train()(x)
    answer.square().sum().backward()
    rounded = rounded_input(x.detach(), torch.tensor([0.0, 6.0])).requires_grad_()
    held = rounded_weight(weight.detach(), STEPS).requires_grad_()
    expected = F.linear(rounded, held, bias)
    expected.square().sum().backward()
    torch.testing.assert_close(answer, expected)
    torch.testing.assert_close(layer[0]._parameters["weight"].grad, held.grad)
    assert x.grad is not None
    assert rounded.grad is not None
    assert x.grad[1, 3] == 0.0, "9 lies beyond the range"
    torch.testing.assert_close(x.grad[0], rounded.grad[0])


def test_evaluation_rounds_by_recorded_ranges_and_says_the_same_for_an_image_alone() -> None:
    net = small_net()
    fake_quantize(net)
    net.train()(IMAGES)
    net.eval()
    with torch.no_grad():
        together, alone = net(IMAGES), torch.cat([net(image[None]) for image in IMAGES])
    torch.testing.assert_close(together, alone)
    other = small_net()
    fake_quantize(other)
    other.load_state_dict(net.state_dict())
    load_input_ranges(other, input_ranges(net))
    with torch.no_grad():
        assert torch.equal(other.eval()(IMAGES), together)


def test_what_no_batch_has_reached_is_not_rounded_in_evaluation() -> None:
    net = small_net().eval()
    plain = copy.deepcopy(net)
    fake_quantize(net)
    with torch.no_grad():
        for mine, theirs in zip((net[0], net[3], net[5]), (plain[0], plain[3], plain[5]), strict=True):
            theirs.weight.copy_(mine.weight)
        assert torch.equal(net(IMAGES), plain(IMAGES))


def test_fast_gradients_of_depthwise_layers_see_the_rounded_weight() -> None:
    net: Any = nn.Sequential(nn.Conv2d(8, 8, 5, groups=8))
    plain = copy.deepcopy(net)
    speed_up_depthwise_gradients(net)
    fake_quantize(net)
    x = torch.randn(2, 8, 9, 9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answer = net.train()(x)
    answer.float().sum().backward()
    gradient = net[0]._parameters["weight"].grad
    assert gradient is not None
    with torch.no_grad():
        plain[0].weight.copy_(rounded_weight(plain[0].weight, FIRST_STEPS))
        expected = plain(rounded_input(x, image_range(x)))
    torch.testing.assert_close(answer.float(), expected, atol=3e-2, rtol=3e-2)


def test_batch_norms_rest_so_that_full_precision_stays_what_it_was() -> None:
    net = small_net()
    fake_quantize(net)
    assert frozen_norms(net) == [net[1]]
    assert all(layer._parameters["weight"].requires_grad for layer in (net[0], net[3], net[5]))


def test_a_block_that_is_computed_again_records_its_ranges_once() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.two(self.one(x).relu())

    torch.manual_seed(0)
    plain = nn.Sequential(nn.Sequential(Block(), Block(), Block()))
    again = copy.deepcopy(plain)
    assert recompute_blocks(again) == 3
    for net in (plain, again):
        fake_quantize(net)
        net.train()
        for scale in (1.0, 3.0):
            net(scale * IMAGES).sum().backward()
    found, wanted = input_ranges(again), input_ranges(plain)
    assert list(found) == list(wanted)
    for name, limits in wanted.items():
        torch.testing.assert_close(found[name], limits)
