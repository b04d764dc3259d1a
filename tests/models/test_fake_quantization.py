"""Layers that compute in rounded numbers: the numbers of exported files, ordinary weights, gradients that pass."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import VisionTransformer

from models.depthwise_gradients import speed_up_depthwise_gradients
from models.fake_quantization import (
    FIRST_STEPS,
    STEPS,
    FakeQuantized,
    Rounding,
    fake_quantize,
    image_range,
    input_ranges,
    load_input_ranges,
    rounded_input,
    rounded_weight,
)
from models.layers.windows import split_windows
from models.recompute import recompute_blocks
from optim.param_groups import frozen_norms


def small_net() -> Any:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(8 * 36, 4))
    return nn.Sequential(*layers)


SIZE = (10, 10)
IMAGES = torch.randn(6, 3, *SIZE, generator=torch.Generator().manual_seed(1))


class OneLayer(nn.Module):
    """A linear layer of what an image holds; it has no convolution."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(12, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1))


def rounding_layer() -> Any:
    net = OneLayer()
    assert fake_quantize(net, (2, 2)) == Rounding(1, 0)
    return net.layer


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
    assert image_range(x, 2).tolist() == [-2.0, 4.0]
    assert image_range(x.bfloat16().to(memory_format=torch.channels_last), 2).tolist() == [-2.0, 4.0]


def test_parts_of_an_image_are_of_one_image() -> None:
    windows = torch.tensor([[-1.0, 1.0], [-2.0, 8.0], [-4.0, 0.0], [0.0, 2.0]])
    assert image_range(windows, 2).tolist() == [-3.0, 5.0]
    assert image_range(windows, 3).tolist() == [-1.75, 2.75], "rows that are no parts of images count for themselves"


def test_layers_inside_of_windows_have_the_ranges_of_whole_images() -> None:
    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.inner = nn.Conv2d(3, 4, 1), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(split_windows(self.stem(x).permute(0, 2, 3, 1), (5, 5))).mean((1, 2))

    torch.manual_seed(0)
    net = Windows()
    fake_quantize(net, SIZE)
    seen: list[torch.Tensor] = []
    net.inner.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    net.train()(IMAGES)
    of_images = seen[0].view(len(IMAGES), -1)
    wanted = torch.stack([of_images.amin(1).mean(), of_images.amax(1).mean()])
    torch.testing.assert_close(input_ranges(net)["inner"], wanted)
    assert len(seen[0]) == 4 * len(IMAGES)


def test_a_recorded_range_moves_a_tenth_of_the_way_with_every_batch() -> None:
    layer = rounding_layer().train()
    for least, largest in ((-1.0, 2.0), (-3.0, 12.0)):
        layer(torch.tensor([[least, *[0.0] * 10, largest]]))
    torch.testing.assert_close(layer.input_range, torch.tensor([-1.2, 3.0]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_batch_with_what_is_no_number_leaves_the_recorded_range_finite(value: float) -> None:
    layer = rounding_layer().train()
    usual = torch.tensor([[-1.0, *[0.0] * 10, 2.0], [-1.0, *[0.0] * 10, 2.0]])
    broken = usual.clone()
    broken[1, 5] = value
    layer(broken)
    layer(usual)
    before = layer.input_range.clone()
    assert before.tolist() == [-1.0, 2.0], "as a first batch"
    answer = layer(broken)
    assert layer.input_range.equal(before)
    layer(torch.full((2, 12), value))
    assert layer.input_range.equal(before), "in all images"
    if value != value:
        assert answer.isnan().any(), "the loss is to show it"
    else:
        torch.testing.assert_close(answer[0], layer(usual)[0])
        assert answer.isfinite().all(), "what is too large is cut off"


def test_names_and_weights_stay_and_copies_share_nothing() -> None:
    net = small_net()
    before = copy.deepcopy(net.state_dict())
    assert fake_quantize(net, SIZE) == Rounding(3, 0)
    twin = copy.deepcopy(net)
    net.train()(IMAGES)
    assert net.state_dict().keys() == before.keys()
    assert all(value.isnan().all() for value in input_ranges(twin).values()), "a copy has ranges of its own"
    assert net[0].weight_steps == FIRST_STEPS
    assert net[3].weight_steps == net[5].weight_steps == STEPS
    assert torch.equal(net.state_dict()["0.weight"], before["0.weight"])
    assert not torch.equal(net[0].weight, before["0.weight"])


def test_layers_compute_with_rounded_numbers_and_gradients_pass_but_where_cut_off() -> None:
    plain, layer = OneLayer().layer, rounding_layer()
    weight, bias = (value.detach().clone().requires_grad_() for value in (plain.weight, plain.bias))
    rest = [[0.0] * 8, [0.0] * 8]
    x = torch.tensor([[0.0, 1.0, 2.0, 3.0, *rest[0]], [0.0, 0.5, 4.0, 9.0, *rest[1]]], requires_grad=True)
    answer = layer.train()(x)
    answer.square().sum().backward()
    rounded = rounded_input(x.detach(), torch.tensor([0.0, 6.0])).requires_grad_()
    held = rounded_weight(weight.detach(), STEPS).requires_grad_()
    expected = F.linear(rounded, held, bias)
    expected.square().sum().backward()
    torch.testing.assert_close(answer, expected)
    torch.testing.assert_close(layer._parameters["weight"].grad, held.grad)
    assert x.grad is not None
    assert rounded.grad is not None
    assert x.grad[1, 3] == 0.0, "9 lies beyond the range"
    torch.testing.assert_close(x.grad[0], rounded.grad[0])


def test_evaluation_rounds_inputs_by_the_recorded_range() -> None:
    layer = rounding_layer()
    layer.train()(torch.linspace(-1.0, 2.0, 24).view(2, 12))
    x = torch.linspace(-3.0, 7.0, 36).view(3, 12)
    rounded = rounded_input(x, layer.input_range)
    assert not torch.allclose(rounded, x, atol=1.0), "and cut off"
    torch.testing.assert_close(layer.eval()(x), F.linear(rounded, layer.weight, layer.bias))


def test_evaluation_rounds_by_recorded_ranges_and_says_the_same_for_an_image_alone() -> None:
    net = small_net()
    fake_quantize(net, SIZE)
    net.train()(IMAGES)
    net.eval()
    with torch.no_grad():
        together, alone = net(IMAGES), torch.cat([net(image[None]) for image in IMAGES])
    torch.testing.assert_close(together, alone)
    other = small_net()
    fake_quantize(other, SIZE)
    other.load_state_dict(net.state_dict())
    load_input_ranges(other, input_ranges(net))
    with torch.no_grad():
        assert torch.equal(other.eval()(IMAGES), together)


def test_what_no_batch_has_reached_is_not_rounded_in_evaluation() -> None:
    net = small_net().eval()
    plain = copy.deepcopy(net)
    fake_quantize(net, SIZE)
    with torch.no_grad():
        for mine, theirs in zip((net[0], net[3], net[5]), (plain[0], plain[3], plain[5]), strict=True):
            theirs.weight.copy_(mine.weight)
        assert torch.equal(net(IMAGES), plain(IMAGES))


def test_fast_gradients_of_depthwise_layers_see_the_rounded_weight() -> None:
    net: Any = nn.Sequential(nn.Conv2d(8, 8, 5, groups=8))
    plain = copy.deepcopy(net)
    speed_up_depthwise_gradients(net)
    fake_quantize(net, (9, 9))
    x = torch.randn(2, 8, 9, 9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answer = net.train()(x)
    answer.float().sum().backward()
    gradient = net[0]._parameters["weight"].grad
    assert gradient is not None
    with torch.no_grad():
        plain[0].weight.copy_(rounded_weight(plain[0].weight, FIRST_STEPS))
        expected = plain(rounded_input(x, image_range(x, len(x))))
    torch.testing.assert_close(answer.float(), expected, atol=3e-2, rtol=3e-2)


def test_batch_norms_rest_so_that_full_precision_stays_what_it_was() -> None:
    net = small_net()
    fake_quantize(net, SIZE)
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
        fake_quantize(net, SIZE)
        net.train()
        for scale in (1.0, 3.0):
            net(scale * IMAGES).sum().backward()
    found, wanted = input_ranges(again), input_ranges(plain)
    assert list(found) == list(wanted)
    for name, limits in wanted.items():
        torch.testing.assert_close(found[name], limits)


class Uncalled(nn.Module):
    """Uses the weights of a layer by itself, and torch's attention, whose two layers nobody calls."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.own, self.attention = nn.Conv2d(3, 8, 2, 2), nn.Linear(8, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.beside = nn.Linear(8, 4)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> Any:
        x = F.linear(self.stem(x).flatten(2).transpose(1, 2), self.own.weight, self.own.bias)
        x = self.attention(x, x, x, need_weights=False)[0].mean(1)
        # As a decoder with another output in training.
        return (self.head(x), self.beside(x)) if self.training else self.head(x)


def test_layers_that_are_not_called_compute_as_ever_and_are_counted_apart() -> None:
    net: Any = Uncalled()
    weights = {name: layer.weight.clone() for name, layer in (("own", net.own), ("out", net.attention.out_proj))}
    before = torch.get_rng_state()
    assert fake_quantize(net, SIZE) == Rounding(3, 3), "stem, head and what training alone calls; own, and two of the attention"
    assert torch.get_rng_state().equal(before), "nothing is drawn"
    assert list(input_ranges(net)) == ["stem", "beside", "head"]
    assert torch.equal(net.own.weight, weights["own"])
    assert torch.equal(net.attention.out_proj.weight, weights["out"])
    net.train()(IMAGES)
    assert not any(value.isnan().any() for value in input_ranges(net).values())


def test_norms_that_count_over_processes_need_no_others_to_see_what_is_called() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.SyncBatchNorm(4), nn.Conv2d(4, 2, 1))
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        with pytest.raises(ValueError, match="expected input tensor to be on"):
            net.train()(IMAGES)
        assert fake_quantize(net, SIZE) == Rounding(2, 0)
    finally:
        dist.destroy_process_group()


def test_attention_of_torchvision_does_not_round() -> None:
    net = VisionTransformer(image_size=16, patch_size=8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=3)
    assert fake_quantize(net, (16, 16)) == Rounding(1 + 2 * 2 + 1, 2 * 2), "stem, two layers of each MLP, classifier; two of each attention"


PASSED_ON: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "torch.save": lambda net: torch.load(saved(net), weights_only=False),
}


def saved(net: nn.Module) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return file


@pytest.mark.parametrize("way", PASSED_ON)
def test_a_network_that_rounds_can_be_passed_on(way: str) -> None:
    net = small_net()
    speed_up_depthwise_gradients(net)
    fake_quantize(net, SIZE)
    net.train()(IMAGES)
    twin = PASSED_ON[way](net)
    assert [type(layer) for layer in twin] == [type(layer) for layer in net]
    for name, limits in input_ranges(net).items():
        assert input_ranges(twin)[name].equal(limits)
    with torch.no_grad():
        assert torch.equal(twin.eval()(IMAGES), net.eval()(IMAGES))
    rounding = [layer for layer in twin if isinstance(layer, FakeQuantized)]
    assert all(layer.underway is rounding[0].underway is not net[0].underway for layer in rounding), "its layers know of one another"
