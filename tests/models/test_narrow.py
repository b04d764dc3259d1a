"""Claims about pruned networks: what is removed, and that the widths alone rebuild them."""

import pytest
import torch
from torch import nn

from models import build_model
from models.narrow import apply_plan, channel_plan
from models.prune import largest_difference, prune_channels
from utils.errors import UserError

SIZE = (32, 48)


def scaled(arch):
    torch.manual_seed(0)
    model = build_model(arch, num_classes=5).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight)
    return model


@pytest.mark.parametrize("arch", ["resnet18", "resnext50_32x4d", "mobilenetv3_small", "efficientnet_b0"])
def test_every_family_is_pruned_and_built_again_from_its_widths(arch):
    model = scaled(arch)
    whole = sum(param.numel() for param in model.parameters())
    prune_channels(model, 0.5, image_size=SIZE)
    assert sum(param.numel() for param in model.parameters()) < 0.6 * whole
    rebuilt = build_model(arch, num_classes=5).eval()
    apply_plan(rebuilt, channel_plan(model))
    rebuilt.load_state_dict(model.state_dict())
    assert largest_difference(model, rebuilt, SIZE) < 1e-5


def test_the_smallest_scales_go():
    model = scaled("resnet18")
    block = model.layer1[0]
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.0)
        block.bn1.weight[:20] = 0.0
        block.bn1.weight[20:] = 1.5
    kept = block.conv1.weight[20:].clone()
    prune_channels(model, 0.01, image_size=SIZE)
    assert torch.equal(block.conv1.weight, kept)


def test_scales_that_a_penalty_left_at_zero_go_by_number_and_no_layer_goes_whole():
    model = scaled("resnet18")
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight[: int(0.95 * norm.num_features)] = 0.0
        model.layer3[0].bn1.weight.zero_()
    widths = [norm.num_features for norm in norms]
    prune_channels(model, 0.5, image_size=SIZE)
    left = [norm.num_features for norm in norms]
    assert 0.4 * sum(widths) < sum(left) < 0.6 * sum(widths)
    assert all(now >= 0.1 * before for now, before in zip(left, widths, strict=True))
    assert model.layer3[0].bn1.num_features < 256


def test_channels_without_scale_change_nothing():
    model = scaled("resnet18")
    with torch.no_grad():
        model.layer1[0].bn1.weight[:8] = 0.0
        model.layer1[0].bn1.bias[:8] = 0.0
    images = torch.randn(2, 3, *SIZE)
    before = model(images).detach()
    prune_channels(model, 0.0015, image_size=SIZE)
    assert model.layer1[0].conv1.out_channels < 64
    torch.testing.assert_close(model(images), before, rtol=1e-3, atol=1e-4)


def test_a_plan_of_the_same_widths_leaves_the_weights_alone():
    model = scaled("resnet18")
    before = {name: value.data_ptr() for name, value in model.state_dict().items()}
    apply_plan(model, channel_plan(model))
    assert {name: value.data_ptr() for name, value in model.state_dict().items()} == before


def test_the_classifier_may_keep_its_outputs():
    model = scaled("resnet18")
    prune_channels(model, 0.5, image_size=SIZE)
    other = build_model("resnet18", num_classes=9)
    apply_plan(other, channel_plan(model), classifier=other.get_classifier())
    assert other.fc.weight.shape == (9, model.fc.in_features)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_an_impossible_share_names_the_flag(share):
    with pytest.raises(UserError, match="--prune"):
        prune_channels(build_model("resnet18", num_classes=2), share, image_size=SIZE)
