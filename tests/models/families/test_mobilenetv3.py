"""MobileNetV3 computes what torchvision's MobileNetV3 computes."""

import pytest
import torch
import torchvision
from torch import nn

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
