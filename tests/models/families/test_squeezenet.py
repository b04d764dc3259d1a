"""SqueezeNet computes what torchvision's computes."""

import pytest
import torch
import torchvision

from models import build_model
from models.families.squeezenet import PUBLISHED, VARIANTS, SqueezeNet
from utils.errors import UserError


def pair(arch, dtype=torch.float32):
    theirs = torchvision.models.get_model(arch, num_classes=7).to(dtype)
    torch.nn.init.normal_(theirs.classifier[1].weight, mean=0.1, std=0.1)  # the published start gives logits near zero
    ours = SqueezeNet(arch, num_classes=7).to(dtype)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


@pytest.mark.parametrize("arch", VARIANTS)
def test_torchvision_weights_give_the_same_logits(arch, assert_same_logits):
    torch.manual_seed(0)
    assert_same_logits(*pair(arch))


@pytest.mark.parametrize("arch", VARIANTS)
def test_gradients_in_training_are_those_of_torchvision(arch, assert_same_gradients):
    torch.manual_seed(0)
    assert_same_gradients(*pair(arch))


def test_the_difference_to_torchvision_is_rounding():
    torch.manual_seed(0)
    ours, theirs = (net.eval() for net in pair("squeezenet1_1", torch.float64))
    x = torch.randn(2, 3, 71, 45, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("arch", VARIANTS)
def test_the_least_size_is_what_the_layers_need(arch):
    net = build_model(arch, num_classes=3).eval()
    least = VARIANTS[arch][3]
    net.check_size((least, least))
    with torch.no_grad():
        assert net(torch.zeros(1, 3, least, least)).shape == (1, 3)
        with pytest.raises(RuntimeError):
            net(torch.zeros(1, 3, least - 1, least - 1))
    with pytest.raises(UserError, match=f"the least is {least}"):
        net.check_size((least - 1, 64))


@pytest.mark.parametrize("arch", VARIANTS)
def test_published_files_are_the_ones_torchvision_names(arch):
    assert PUBLISHED[arch].url == torchvision.models.get_model_weights(arch).DEFAULT.url
