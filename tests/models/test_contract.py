"""What training and export ask of a network works for every row of the table: the smallest of each family always, all of them when slow."""

import warnings

import pytest
import torch
from torch import nn

from models import FAMILIES, build_model, list_models
from models.initialization import initialize
from models.layers.stochastic_depth import StochasticDepth
from models.recompute import find_blocks, recompute_blocks
from tests.models.test_backbone import image, taken_size
from utils.errors import UserError

# The smallest of every family.
SMALLEST = frozenset(
    {
        *("resnet18", "resnest50_fast_1s1x64d", "mobilenetv3_small", "efficientnet_b0", "darknet_yolov5n", "vovnet27_slim"),
        *("resnet_20", "googlenet", "squeezenet1_1"),
        *("vit_tiny_patch16_224", "cait_xxs24_224", "mixer_s32_224", "swin_tiny_patch4_window7_224", "convnext_atto"),
    }
)
ALL = [arch if arch in SMALLEST else pytest.param(arch, marks=pytest.mark.slow) for arch in list_models()]


def test_every_family_is_asked_but_the_largest():
    assert {name for name, family in FAMILIES.items() if not set(family.variants) & SMALLEST} == {"alexnet", "vgg"}


def gradients(net, x):
    """Gradients of one training step, by a fixed stream of random numbers."""
    torch.manual_seed(1)
    net.zero_grad()
    nn.functional.cross_entropy(net.train()(x), torch.arange(len(x))).backward()
    return {name: each.grad.clone() for name, each in net.named_parameters() if each.grad is not None}


@pytest.mark.parametrize("arch", ALL)
def test_a_seed_decides_the_start_and_a_scheme_draws_it_again(arch):
    torch.manual_seed(0)
    net = build_model(arch, num_classes=5)
    torch.manual_seed(0)
    twin = build_model(arch, num_classes=5)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), twin.state_dict().values(), strict=True))
    del twin
    assert all(each.isfinite().all() for each in net.state_dict().values())
    initialize(net, "trunc_normal(std=0.02)")
    assert float(net.get_classifier().weight.detach().std()) == pytest.approx(0.0176, rel=0.1)
    with torch.inference_mode():
        assert net.eval()(image(*taken_size(net), n=1)).isfinite().all()


@pytest.mark.parametrize("arch", ALL)
def test_dropout_and_drop_path_take_the_rates_that_are_given(arch):
    with torch.device("meta"):
        net = build_model(arch, num_classes=5, drop_rate=0.37)
    assert 0.37 in [layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)]
    branches = [layer for layer in net.modules() if isinstance(layer, StochasticDepth)]
    if not branches:
        with pytest.raises(UserError, match="no residual branch"):
            net.set_drop_path(0.25)
        return
    net.set_drop_path(0.25)
    assert 0.2 < max(branch.rate for branch in branches) <= 0.25
    net.set_drop_path(0.0)
    assert not any(branch.rate for branch in branches)


@pytest.mark.parametrize("arch", ALL)
def test_checkpointing_changes_neither_gradients_nor_statistics(arch):
    net = build_model(arch, num_classes=5, drop_rate=0.1)
    nn.init.normal_(net.get_classifier().weight, std=0.1)
    x = image(*taken_size(net))
    start = {name: value.clone() for name, value in net.named_buffers()}
    expected = gradients(net, x)
    counted = {name: value.clone() for name, value in net.named_buffers()}
    for name, value in net.named_buffers():
        value.copy_(start[name])
    if not find_blocks(net):
        with pytest.raises(UserError, match="no row of blocks"):
            recompute_blocks(net)
        return
    recompute_blocks(net)
    found = gradients(net, x)
    assert set(found) == set(expected) == {name for name, _ in net.named_parameters()}
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient)
    for name, value in net.named_buffers():
        torch.testing.assert_close(value, counted[name])


@pytest.mark.parametrize("arch", ALL)
def test_a_traced_network_agrees_for_another_number_of_images(arch):
    net = build_model(arch, num_classes=5).eval()
    nn.init.normal_(net.get_classifier().weight, std=0.1)
    size = taken_size(net)
    with torch.inference_mode(), warnings.catch_warnings():
        # Tracing fixes the size of images; the number of them it must not.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(net, image(*size, n=1), check_trace=False)
        torch.testing.assert_close(traced(image(*size, n=3)), net(image(*size, n=3)), atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ALL)
def test_a_compiled_network_agrees_in_evaluation_and_in_training(arch):
    net = build_model(arch, num_classes=5, drop_rate=0.0)
    if any(isinstance(layer, StochasticDepth) for layer in net.modules()):
        net.set_drop_path(0.0)
    nn.init.normal_(net.get_classifier().weight, std=0.1)
    x = image(*taken_size(net))
    with torch.no_grad():
        expected = net.eval()(x)
    start = {name: value.clone() for name, value in net.named_buffers()}
    wanted = gradients(net, x)
    for name, value in net.named_buffers():
        value.copy_(start[name])
    torch._dynamo.reset()
    net.compile(backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(x), expected, atol=1e-5, rtol=1e-4)
    found = gradients(net, x)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-3)
