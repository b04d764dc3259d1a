"""ResNet computes what torchvision's ResNet computes."""

import pytest
import torch
import torchvision

from models.families.resnet import PUBLISHED, VARIANTS, BasicBlock, Bottleneck, ResNet

LARGE = ("resnet152", "resnext101_32x8d", "wide_resnet101_2")


@pytest.mark.parametrize("arch", [pytest.param(arch, marks=pytest.mark.slow) if arch in LARGE else arch for arch in VARIANTS])
def test_torchvision_weights_give_the_same_logits(arch, randomize, assert_same_logits):
    theirs = randomize(torchvision.models.get_model(arch, weights=None, num_classes=7))
    ours = ResNet(arch, num_classes=7)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert_same_logits(ours, theirs)


@pytest.mark.parametrize("arch", ["resnet18", "resnext50_32x4d"])
def test_gradients_in_training_are_those_of_torchvision(arch, randomize, assert_same_gradients):
    theirs = randomize(torchvision.models.get_model(arch, weights=None, num_classes=7))
    ours = ResNet(arch, num_classes=7)
    ours.load_state_dict(theirs.state_dict())
    assert_same_gradients(ours, theirs)


def test_resnet18_with_6_classes_has_11_18_million_parameters():
    assert sum(each.numel() for each in ResNet("resnet18", num_classes=6).parameters()) == 11_179_590


def test_every_block_starts_as_its_shortcut():
    net = ResNet("resnet18", num_classes=3).eval()
    blocks = [module for module in net.modules() if isinstance(module, BasicBlock | Bottleneck)]
    assert all((block.last_norm.weight == 0).all() for block in blocks)
    x = torch.rand(1, 64, 5, 6)
    torch.testing.assert_close(blocks[0](x), x)


def test_drop_rate_reaches_the_dropout_and_is_0_when_not_given():
    assert ResNet("resnet18", num_classes=3).dropout.p == 0
    assert ResNet("resnet18", num_classes=3, drop_rate=0.4).dropout.p == 0.4


@pytest.mark.parametrize("arch", VARIANTS)
def test_published_files_are_the_ones_torchvision_names(arch):
    assert PUBLISHED[arch].url == torchvision.models.get_model_weights(arch).DEFAULT.url
