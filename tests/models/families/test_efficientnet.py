"""EfficientNet computes what torchvision's, timm's and efficientnet_pytorch's compute."""

from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.families.efficientnet import PUBLISHED, VARIANTS, EfficientNet, pad_same
from utils.errors import UserError

LARGE = tuple(f"efficientnet_b{index}" for index in range(4, 9))
ALL = [pytest.param(arch, marks=pytest.mark.slow) if arch in LARGE else arch for arch in VARIANTS]
# At sides 2^5 k + 1 every map has odd sides, where 'same' and symmetric padding are one.
ODD = (97, 65)


def from_torchvision(arch: str, randomize) -> tuple[EfficientNet, nn.Module]:
    """Both list their tensors in the order of the computation."""
    theirs = randomize(torchvision.models.get_model(arch, weights=None, num_classes=7))
    for layer in theirs.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 0.001
    ours = EfficientNet(arch, num_classes=7)
    pairs = zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True)
    ours.load_state_dict(OrderedDict((name, other) for (name, _), (_, other) in pairs))
    return ours, theirs


@pytest.mark.parametrize("arch", ALL[:8])
def test_logits_are_those_of_torchvision_where_both_paddings_agree(arch, randomize, assert_same_logits):
    assert_same_logits(*from_torchvision(arch, randomize), size=ODD)


def test_gradients_in_training_are_those_of_torchvision(randomize, assert_same_gradients):
    ours, theirs = from_torchvision("efficientnet_b0", randomize)
    for module in (*ours.modules(), *theirs.modules()):
        if isinstance(module, torchvision.ops.StochasticDepth):
            module.p = 0.0
        elif type(module).__name__ == "StochasticDepth":
            module.rate = 0.0
    assert_same_gradients(ours, theirs, size=ODD)


@pytest.mark.parametrize("arch", ALL)
def test_timm_weights_give_the_same_maps_and_logits_at_the_same_cost(arch, randomize, assert_parity):
    timm = pytest.importorskip("timm")
    assert_parity(EfficientNet(arch, num_classes=7), randomize(timm.create_model(f"tf_{arch}", num_classes=7)))


def test_the_difference_to_timm_is_rounding(randomize, assert_parity):
    timm = pytest.importorskip("timm")
    theirs = randomize(timm.create_model("tf_efficientnet_b0", num_classes=7))
    assert_parity(EfficientNet("efficientnet_b0", num_classes=7), theirs, dtype=torch.float64)


@pytest.mark.parametrize("arch", ["efficientnet_b1", pytest.param("efficientnet_b8", marks=pytest.mark.slow)])
def test_efficientnet_pytorch_weights_load_through_the_remap(arch, randomize, assert_same_logits):
    package = pytest.importorskip("efficientnet_pytorch")
    theirs = randomize(package.EfficientNet.from_name(arch.replace("_", "-"), num_classes=7, image_size=None))
    ours = EfficientNet(arch, num_classes=7)
    ours.load_state_dict(ours.remap(theirs.state_dict()), strict=True)
    assert_same_logits(ours, theirs)


def test_torchvision_weights_are_refused_with_the_right_name():
    with pytest.raises(UserError, match="--arch torchvision/NAME"):
        EfficientNet("efficientnet_b0", num_classes=7).remap({"features.0.0.weight": torch.zeros(1)})


@given(height=st.integers(3, 40), width=st.integers(3, 40), kernel=st.sampled_from([3, 5]))
@settings(max_examples=60, deadline=None)
def test_same_padding_gives_half_the_size_and_the_smaller_border_first(height, width, kernel):
    x = torch.ones(1, 1, height, width)
    padded = pad_same(x, kernel)
    out = F.conv2d(padded, torch.ones(1, 1, kernel, kernel), stride=2)
    assert out.shape[2:] == (-(-height // 2), -(-width // 2))
    for size, axis in ((height, 2), (width, 3)):
        total = max((-(-size // 2) - 1) * 2 + kernel - size, 0)
        border = padded.sum(dim=5 - axis).flatten() == 0
        assert border.sum() == total
        assert border[: total // 2].all()
        assert border[len(border) - (total - total // 2) :].all()


def test_b0_with_6_classes_has_4_02_million_parameters():
    assert sum(each.numel() for each in EfficientNet("efficientnet_b0", num_classes=6).parameters()) == 4_015_234


def test_stochastic_depth_grows_from_0_to_a_fifth_over_the_blocks():
    net = EfficientNet("efficientnet_b0", num_classes=3)
    rates = [block.depth.rate for stage in net.blocks for block in stage]
    assert rates == pytest.approx([0.2 * index / 16 for index in range(16)])


@pytest.mark.parametrize(("arch", "rate"), [("efficientnet_b0", 0.2), ("efficientnet_b2", 0.3)])
def test_published_dropout_holds_until_another_is_given(arch, rate):
    assert EfficientNet(arch, num_classes=3).dropout.p == rate
    assert EfficientNet(arch, num_classes=3, drop_rate=0.0).dropout.p == 0


def test_published_files_are_the_ones_timm_names():
    timm = pytest.importorskip("timm")
    for arch, published in PUBLISHED.items():
        tag = "ra_in1k" if arch.endswith("b8") else "aa_in1k"
        theirs = timm.get_pretrained_cfg(f"tf_{arch}.{tag}")
        assert published.url.rsplit("/", 1)[1] == theirs.url.rsplit("/", 1)[1]
        assert (3, *published.size) == theirs.input_size
        assert (published.mean, published.std, published.interpolation) == (theirs.mean, theirs.std, theirs.interpolation)
