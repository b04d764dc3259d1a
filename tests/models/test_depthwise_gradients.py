"""Depthwise convolutions with fast gradients in bf16 give the same answers, and gradients that are no worse."""

import copy

import pytest
import torch
from torch import Tensor, nn

from models import build_model
from models.depthwise_gradients import DepthwiseGradients, is_slow, speed_up_depthwise_gradients

CONVOLUTIONS = [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1)]


def twins(kernel: int, stride: int, *, bias: bool = True) -> tuple[nn.Conv2d, nn.Conv2d]:
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 8, kernel, stride, kernel // 2, groups=8, bias=bias).to(memory_format=torch.channels_last)
    fast = copy.deepcopy(plain)
    speed_up_depthwise_gradients(fast)
    return plain, fast


def passed(layer: nn.Conv2d, images: Tensor, upstream: Tensor, *, narrow: bool = True) -> list[Tensor]:
    """Return the answer, and the gradients of images, weights and bias."""
    images = images.clone(memory_format=torch.preserve_format).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        answer = layer(images)
    answer.backward(upstream.to(answer.dtype))
    gradients = [images.grad, layer.weight.grad, *([] if layer.bias is None else [layer.bias.grad])]
    assert all(each is not None for each in gradients)
    return [answer.detach(), *(each for each in gradients if each is not None)]


@pytest.mark.parametrize(("kernel", "stride"), CONVOLUTIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_answers_are_the_same_to_the_bit_and_gradients_as_near_to_float64(kernel: int, stride: int, bias: bool) -> None:
    plain, fast = twins(kernel, stride, bias=bias)
    images = torch.randn(4, 8, 20, 18).bfloat16().to(memory_format=torch.channels_last)
    upstream = torch.randn_like(plain(images.float())).bfloat16()
    exact = copy.deepcopy(plain).double()
    with torch.no_grad():
        # What both see of the weights.
        exact.weight.copy_(plain.weight.bfloat16())
    wanted = passed(exact, images.double(), upstream.double(), narrow=False)
    own, others = passed(fast, images, upstream), passed(plain, images, upstream)
    assert torch.equal(own[0], others[0])
    assert [each.dtype for each in own] == [each.dtype for each in others]
    for mine, theirs, right in zip(own[1:], others[1:], wanted[1:], strict=True):
        off, usual = ((each.double() - right).abs().max() / right.abs().max() for each in (mine, theirs))
        assert off <= max(1.1 * usual, 1e-2)


@pytest.mark.parametrize(("kernel", "stride"), CONVOLUTIONS)
def test_in_fp32_nothing_changes(kernel: int, stride: int) -> None:
    plain, fast = twins(kernel, stride)
    images, upstream = torch.randn(2, 8, 16, 16), torch.randn(2, 8, 16 // stride, 16 // stride)
    assert all(map(torch.equal, passed(fast, images, upstream, narrow=False), passed(plain, images, upstream, narrow=False)))


def test_only_slow_kernels_are_replaced() -> None:
    slow = [nn.Conv2d(8, 8, 3, 2, 1, groups=8), nn.Conv2d(8, 8, 5, padding=2, groups=8)]
    fine = [
        nn.Conv2d(8, 8, 3, 1, 1, groups=8),
        nn.Conv2d(8, 8, 3, 2, 1),
        nn.Conv2d(8, 8, 3, 2, 1, groups=4),
        nn.Conv2d(8, 16, 3, 2, 1, groups=8),
        nn.Conv2d(1, 1, 3, 2, 1),
        nn.Conv2d(8, 8, 5, padding="same", groups=8),
        nn.Conv2d(8, 8, 5, padding=4, dilation=2, groups=8),
        nn.Conv2d(8, 8, 5, padding=2, padding_mode="reflect", groups=8),
    ]
    assert all(map(is_slow, slow))
    assert not any(map(is_slow, fine))
    assert speed_up_depthwise_gradients(nn.Sequential(*slow, *fine)) == 2
    assert not any(isinstance(each, DepthwiseGradients) for each in fine)


def test_a_copy_learns_by_itself() -> None:
    _, layer = twins(5, 2)
    other = copy.deepcopy(layer)
    passed(other, torch.randn(1, 8, 8, 8), torch.randn(1, 8, 4, 4))
    assert layer.weight.grad is None


def test_frozen_weights_and_images_get_no_gradient() -> None:
    _, layer = twins(5, 2)
    layer.weight.requires_grad_(False)
    assert layer.bias is not None
    with torch.autocast("cpu", torch.bfloat16):
        layer(torch.randn(1, 8, 8, 8)).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad is not None
    assert torch.equal(layer.bias.grad, torch.full((8,), 16.0))


def curvature(layer: nn.Conv2d, images: Tensor, *, narrow: bool) -> Tensor:
    """Return the second derivative of a loss by the images, along a direction, and by the weights."""
    images = images.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        answer = layer(images.tanh())
    first = torch.autograd.grad(answer.to(images.dtype).pow(4).mean(), [images, layer.weight], create_graph=True)
    second = torch.autograd.grad(first[0].sum() + first[1].sum(), [images, layer.weight])
    return torch.cat([each.flatten() for each in second])


@pytest.mark.parametrize(("kernel", "stride"), CONVOLUTIONS)
def test_second_derivatives_reach_what_came_in_fp32(kernel: int, stride: int) -> None:
    plain, fast = twins(kernel, stride)
    images = torch.randn(2, 8, 12, 12)
    right = curvature(copy.deepcopy(plain).double(), images.double(), narrow=False)
    off, usual = ((curvature(each, images, narrow=True) - right).norm() / right.norm() for each in (fast, plain))
    assert off <= max(1.2 * usual, 1e-2)


@pytest.mark.parametrize("arch", ["mobilenetv3_small", "efficientnet_b0"])
def test_a_network_answers_as_before_and_learns_alike(arch: str) -> None:
    torch.manual_seed(0)
    plain = build_model(arch, num_classes=3, drop_rate=0.0).train()
    fast = copy.deepcopy(plain)
    assert speed_up_depthwise_gradients(fast) > 4
    assert list(fast.state_dict()) == list(plain.state_dict())
    images, gradients = torch.randn(4, 3, 64, 64), []
    for net in (plain, fast):
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16):
            answer = net(images)
        answer.float().square().sum().backward()
        gradients.append(torch.cat([each.grad.flatten() for each in net.parameters() if each.grad is not None]))
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.98


def test_a_network_of_torchvision_still_shows_its_maps() -> None:
    net = build_model("torchvision/mobilenet_v2", num_classes=3)
    assert speed_up_depthwise_gradients(net) == 4
    maps = net.eval().forward_features(torch.randn(1, 3, 64, 64))
    assert [each.shape[-1] for each in maps] == [32, 16, 8, 4, 2]


def test_a_traced_network_keeps_fast_layers_whole() -> None:
    net = nn.Sequential(twins(5, 2)[1])
    graph = torch.fx.symbolic_trace(net)
    assert [node.op for node in graph.graph.nodes] == ["placeholder", "call_module", "output"]


def test_a_network_is_changed_once() -> None:
    net = build_model("mobilenetv3_small", num_classes=2)
    assert speed_up_depthwise_gradients(net) > 0
    assert speed_up_depthwise_gradients(net) == 0
