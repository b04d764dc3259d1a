"""VGG computes what torchvision's VGG computes."""

import pytest
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from models import build_model
from models.families.vgg import PUBLISHED, VARIANTS, VGG


def cost(net):
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, 64, 96, device="meta"))
    return counter.get_total_flops()


@pytest.mark.parametrize("arch", VARIANTS)
def test_names_shapes_and_multiply_adds_are_those_of_torchvision(arch):
    with torch.device("meta"):
        ours, theirs = build_model(arch, num_classes=7), torchvision.models.get_model(arch, num_classes=7, init_weights=False)
    assert {name: each.shape for name, each in ours.state_dict().items()} == {
        name: each.shape for name, each in theirs.state_dict().items()
    }
    assert cost(ours.eval()) == cost(theirs.eval())


@pytest.mark.slow
@pytest.mark.parametrize("arch", VARIANTS)
def test_torchvision_weights_give_the_same_logits(arch, randomize):
    theirs, ours = randomize(torchvision.models.get_model(arch, num_classes=7)).eval(), VGG(arch, num_classes=7).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_the_difference_to_torchvision_is_rounding(randomize):
    theirs, ours = randomize(torchvision.models.vgg11(num_classes=7)).double().eval(), VGG("vgg11", num_classes=7).double().eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs(x)
        torch.testing.assert_close(ours(x), expected, atol=1e-9, rtol=1e-9)
    assert expected.std() > 1e-2, "the comparison needs logits that differ"


def test_maps_lie_before_the_maxima_and_behind_the_last(randomize):
    cfg = torchvision.models.vgg.cfgs["A"]
    theirs = randomize(torchvision.models.vgg.make_layers(cfg, batch_norm=True)).double().eval()
    with torch.device("meta"):
        ours = build_model("vgg11_bn", num_classes=7).eval()
    ours.features.to_empty(device="cpu").double().load_state_dict(theirs.state_dict())
    x, expected = torch.randn(2, 3, 64, 96, dtype=torch.float64), []
    with torch.no_grad():
        maps, y = ours.forward_features(x), x
        for layer in theirs:
            if isinstance(layer, torch.nn.MaxPool2d):
                expected.append(y)
            y = layer(y)
    for mine, other in zip(maps, [*expected[1:], y], strict=True):
        torch.testing.assert_close(mine, other, atol=1e-9, rtol=1e-9)
    assert [info.stride for info in ours.feature_info] == [2, 4, 8, 16, 32]


@pytest.mark.parametrize("arch", VARIANTS)
def test_published_files_are_the_ones_torchvision_names(arch):
    assert PUBLISHED[arch].url == torchvision.models.get_model_weights(arch).DEFAULT.url
