"""MobileNetV3 computes what torchvision's MobileNetV3 computes."""

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.families.mobilenetv3 import PUBLISHED, VARIANTS, MobileNetV3

TWINS = {"mobilenetv3_small": "mobilenet_v3_small", "mobilenetv3_large": "mobilenet_v3_large"}
MILLIONS = {"mobilenetv3_small": 1_524_006, "mobilenetv3_large": 4_209_718}


@pytest.mark.parametrize("arch", VARIANTS)
def test_torchvision_weights_give_the_same_logits(arch, randomize, assert_same_logits):
    theirs = randomize(torchvision.models.get_model(TWINS[arch], weights=None, num_classes=7))
    theirs.classifier[3].weight.data.mul_(20)
    ours = MobileNetV3(arch, num_classes=7)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert_same_logits(ours, theirs)
    assert_same_logits(ours, theirs, size=(97, 65))


@pytest.mark.parametrize("arch", VARIANTS)
def test_the_difference_to_torchvision_is_rounding_in_every_map_at_the_same_cost(arch, randomize):
    theirs = randomize(torchvision.models.get_model(TWINS[arch], weights=None, num_classes=7)).double().eval()
    ours = MobileNetV3(arch, num_classes=7).double().eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x, outputs = torch.randn(2, 3, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), []
    for layer in theirs.features:
        layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    with torch.no_grad(), FlopCounterMode(display=False) as their_cost:
        expected = theirs(x)
    with torch.no_grad(), FlopCounterMode(display=False) as cost:
        found = ours(x)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)
    assert cost.get_total_flops() == their_cost.get_total_flops() > 0
    # A map is what the last block of its size gives.
    last = {output.shape[2:]: output for output in outputs[:-1]}
    maps = ours.forward_features(x)
    assert len(maps) == len(last)
    for mine, other in zip(maps, last.values(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-9, rtol=1e-9)


def test_gradients_in_training_are_those_of_torchvision(randomize, assert_same_gradients):
    theirs = randomize(torchvision.models.mobilenet_v3_small(weights=None, num_classes=7))
    ours = MobileNetV3("mobilenetv3_small", num_classes=7)
    ours.load_state_dict(theirs.state_dict())
    assert_same_gradients(ours, theirs)


@pytest.mark.parametrize("arch", VARIANTS)
def test_6_classes_give_the_known_number_of_parameters(arch):
    assert sum(each.numel() for each in MobileNetV3(arch, num_classes=6).parameters()) == MILLIONS[arch]


@pytest.mark.parametrize("arch", VARIANTS)
def test_batch_norm_has_the_published_numbers(arch):
    layers = [layer for layer in MobileNetV3(arch, num_classes=6).modules() if isinstance(layer, nn.BatchNorm2d)]
    assert {(layer.eps, layer.momentum) for layer in layers} == {(0.001, 0.01)}


def test_pre_logits_is_the_hidden_layer_before_the_classifier():
    net = MobileNetV3("mobilenetv3_small", num_classes=5).eval()
    maps = net.forward_features(torch.rand(2, 3, 64, 96))
    hidden = net.forward_head(maps, pre_logits=True)
    assert hidden.shape == (2, 1024)
    torch.testing.assert_close(net.get_classifier()(hidden), net.forward_head(maps))


@pytest.mark.parametrize("arch", VARIANTS)
def test_published_files_are_the_ones_torchvision_names(arch):
    assert PUBLISHED[arch].url == torchvision.models.get_model_weights(TWINS[arch]).DEFAULT.url
