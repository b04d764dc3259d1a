"""ResNet computes what torchvision's and timm's ResNets compute."""

import re

import pytest
import torch
import torchvision

from models import build_model
from models.families.resnet import PUBLISHED, VARIANTS, BasicBlock, Bottleneck, ResNet
from models.layers.blur_pool import BlurPool
from models.layers.residual_net import ResidualBlock
from utils.errors import UserError

TORCHVISION = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
TORCHVISION += ("resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2")
LARGE = ("resnet101", "resnet152", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2")
# One for each part: stems, average shortcut, both gates, blur, learned pool.
SMALL = ("resnet18d", "resnet26t", "seresnet18", "ecaresnetlight", "resnetblur18", "resnetrs50")
DEPTHS = {"18": 8, "34": 16, "26": 8, "50": 16, "101": 33, "152": 50, "154": 50, "200": 66, "269": 89, "270": 90, "350": 116, "420": 139}


def slow_unless(names, chosen):
    return [name if name in chosen else pytest.param(name, marks=pytest.mark.slow) for name in names]


def twin(arch, **kwargs):
    """timm's network: it has one name for an architecture, whoever trained the weights."""
    timm = pytest.importorskip("timm")
    if arch == "ig_resnext101_32x48d":
        from timm.models import resnet

        return resnet.ResNet(resnet.Bottleneck, (3, 4, 23, 3), cardinality=32, base_width=48, **kwargs)
    return timm.create_model(re.sub("^(tv|ig|ssl|swsl)_", "", arch), **kwargs)


@pytest.mark.parametrize("arch", slow_unless(VARIANTS, SMALL))
def test_timm_weights_give_the_same_maps_and_logits_at_the_same_cost(arch, randomize, assert_parity):
    assert_parity(ResNet(arch, num_classes=7), randomize(twin(arch, num_classes=7)))


def test_the_difference_to_timm_is_rounding(randomize, assert_parity):
    theirs = randomize(twin("seresnext26t_32x4d", num_classes=7))
    assert_parity(ResNet("seresnext26t_32x4d", num_classes=7), theirs, dtype=torch.float64)


def test_gradients_of_gates_and_blur_are_those_of_timm(randomize, assert_same_gradients):
    for arch in ("seresnet18", "resnetblur18"):
        theirs = randomize(twin(arch, num_classes=7))
        ours = ResNet(arch, num_classes=7)
        ours.load_state_dict(theirs.state_dict())
        assert_same_gradients(ours, theirs)


@pytest.mark.parametrize("arch", slow_unless(VARIANTS, ()))
def test_a_name_builds_as_many_blocks_as_it_says(arch):
    with torch.device("meta"):
        net = ResNet(arch, num_classes=3)
    blocks = sum(isinstance(module, ResidualBlock) for module in net.modules())
    number = re.search(r"\d+", arch)
    assert blocks == (DEPTHS[number.group()] if number else 16)


def test_ecaresnext50t_has_50_layers():
    with torch.device("meta"):
        blocks = [module for module in ResNet("ecaresnext50t_32x4d", num_classes=3).modules() if isinstance(module, Bottleneck)]
    assert len(blocks) == 3 + 4 + 6 + 3
    assert blocks[0].conv2.groups == 32


def test_blur_pool_halves_a_constant_map_to_itself_and_a_checkerboard_to_its_mean():
    blur = BlurPool()
    torch.testing.assert_close(blur(torch.full((2, 5, 6, 9), 3.0)), torch.full((2, 5, 3, 5), 3.0))
    checkerboard = (torch.arange(8)[:, None] + torch.arange(8)) % 2
    torch.testing.assert_close(blur(checkerboard[None, None].float()), torch.full((1, 1, 4, 4), 0.5))


def test_images_too_small_to_blur_are_refused():
    net = build_model("resnetblur18", num_classes=3).eval()
    net.check_size((17, 40))
    assert net(torch.zeros(1, 3, 17, 40)).shape == (1, 3)
    with pytest.raises(UserError, match="16 x 40 pixels are too small for blur pooling; the least is 17"):
        net.check_size((16, 40))


@pytest.mark.parametrize("arch", slow_unless(TORCHVISION, set(TORCHVISION) - set(LARGE)))
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


@pytest.mark.parametrize("arch", TORCHVISION)
def test_published_files_are_the_ones_torchvision_names(arch):
    assert PUBLISHED[arch].url == torchvision.models.get_model_weights(arch).DEFAULT.url


TAGS = {"tv": "tv_in1k", "ig": "fb_wsl_ig1b_ft_in1k", "ssl": "fb_ssl_yfcc100m_ft_in1k", "swsl": "fb_swsl_ig1b_ft_in1k"}


def test_other_published_files_are_the_ones_timm_names():
    timm = pytest.importorskip("timm")
    others = set(VARIANTS) - set(TORCHVISION) - {"ig_resnext101_32x48d"}
    for arch in others:
        trainer, _, rest = arch.partition("_")
        theirs = timm.get_pretrained_cfg(f"{rest}.{TAGS[trainer]}" if trainer in TAGS else arch)
        published = PUBLISHED.get(arch)
        if published is None:
            assert not theirs.url
            continue
        assert published.url.split("/")[-2:] == theirs.url.split("/")[-2:], arch
        assert (3, *published.size) == theirs.input_size
        assert (published.mean, published.std, published.interpolation) == (theirs.mean, theirs.std, theirs.interpolation)
        assert published.sha256
