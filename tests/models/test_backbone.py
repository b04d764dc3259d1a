"""Every row of the table of models keeps the contract."""

import copy

import pytest
import torch
from torch import nn

from models import FAMILIES, build_model, list_models
from models.backbone import Backbone
from utils.errors import UserError

# Of each family the variants that have its parts; the others are tried at night.
CONVOLUTIONAL = ("resnet18", "resnext50_32x4d", "seresnet18", "resnetblur18", "mobilenetv3_small", "efficientnet_b0")
QUICK = {
    *CONVOLUTIONAL,
    *("resnet18d", "resnet26t", "ecaresnetlight", "resnetrs50", "resnest50", "resnet_20", "resnet_20_bn_conv_relu"),
    *("googlenet", "squeezenet1_1", "mobilenetv3_large"),
    *("darknet_yolov5n", "vovnet27_slim", "vovnet19_slim_ese"),
    *("vit_tiny_patch16_224", "cait_xxs24_224", "mixer_s32_224", "swin_tiny_patch4_window7_224", "convnext_atto", "convnextv2_atto"),
}
ALL = [arch if arch in QUICK else pytest.param(arch, marks=pytest.mark.slow) for arch in list_models()]
UNPADDED = ("alexnet", "zfnet", "squeezenet1_0", "squeezenet1_1")
OTHER_STRIDES = {"alexnet": [4, 8, 16, 32], "squeezenet1_0": [2, 4, 8, 16], "squeezenet1_1": [2, 4, 8, 16]}


def image(*size: int, n: int = 2) -> torch.Tensor:
    return torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(3))


def test_every_family_has_help_and_one_that_is_tested_always_but_the_largest():
    tested = {name: family.help and set(family.variants) & QUICK for name, family in FAMILIES.items()}
    assert {name for name, some in tested.items() if not some} == {"alexnet", "vgg"}


def taken_size(net):
    """A size (height, width) that the network takes, not square if it can be."""
    for size in ((64, 96), (56, 84), (224, 224)):
        try:
            net.check_size(size)
        except UserError:
            continue
        return size
    pytest.fail("no size is taken")


@pytest.mark.parametrize("arch", ALL)
def test_maps_head_and_classifier_fit_together(arch):
    net = build_model(arch, num_classes=5).eval()
    height, width = taken_size(net)
    x = image(height, width)
    with torch.inference_mode():
        maps = net.forward_features(x)
        logits = net(x)
        vector = net.forward_head(maps, pre_logits=True)
        torch.testing.assert_close(net.forward_head(maps), logits)
    assert isinstance(net, Backbone)
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()
    strides = [info.stride for info in net.feature_info]
    constant = len(strides) == 4 and len(set(strides)) == 1
    assert constant or strides in ([2, 4, 8, 16, 32], [4, 8, 16, 32], OTHER_STRIDES.get(arch))
    lost = 3 if arch in UNPADDED else 0
    for each, info in zip(maps, net.feature_info, strict=True):
        assert each.shape[:2] == (2, info.channels)
        assert all(0 <= side // info.stride - kept <= lost for side, kept in zip((height, width), each.shape[2:], strict=True))
    classifier = net.get_classifier()
    assert vector.shape == (2, classifier.weight.shape[1])

    before = net.get_classifier()
    net.reset_classifier(9)
    assert net.get_classifier() is not before
    assert net.num_classes == 9
    with torch.inference_mode():
        assert net(x).shape == (2, 9)


@pytest.mark.parametrize("arch", ALL)
def test_a_fresh_classifier_of_few_classes_begins_at_about_even_answers(arch):
    torch.manual_seed(1)
    net = build_model(arch, num_classes=2).train()
    with torch.no_grad():
        logits = net(image(*taken_size(net), n=4))
    assert float(nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0, 1]))) < 0.7 + 1.0


@pytest.mark.parametrize("arch", CONVOLUTIONAL)
def test_odd_sizes_and_channels_last_give_the_same_logits(arch):
    net = build_model(arch, num_classes=5).eval()
    x = image(71, 45)
    with torch.inference_mode():
        expected = net(x)
        net.to(memory_format=torch.channels_last)
        torch.testing.assert_close(net(x.contiguous(memory_format=torch.channels_last)), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.parametrize("arch", [*CONVOLUTIONAL, pytest.param("resnest50_fast_2s2x40d", marks=pytest.mark.slow)])
def test_a_traced_network_agrees_at_the_traced_size_and_at_another(arch):
    net = build_model(arch, num_classes=5).eval()
    with torch.inference_mode():
        traced = torch.jit.trace(net, image(64, 96))
        for count, *size in ((2, 64, 96), (3, 65, 80)):
            torch.testing.assert_close(traced(image(*size, n=count)), net(image(*size, n=count)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("arch", CONVOLUTIONAL)
def test_a_bf16_training_step_reaches_every_parameter(arch):
    net = build_model(arch, num_classes=5, drop_rate=0.1).train()
    for name, parameter in net.named_parameters():
        # Blocks that start as their shortcut would pass no gradient on.
        if name.endswith(("bn2.weight", "bn3.weight")):
            parameter.data.fill_(1.0)
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(image(64, 64, n=4))
    torch.nn.functional.cross_entropy(logits.float(), torch.arange(4)).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in net.parameters())
    assert all(parameter.grad.abs().sum() > 0 for name, parameter in net.named_parameters() if name.endswith("conv1.weight"))


@pytest.mark.parametrize("arch", CONVOLUTIONAL)
def test_a_copy_shares_nothing_with_its_original(arch):
    net = build_model(arch, num_classes=5)
    twin = copy.deepcopy(net)
    next(twin.parameters()).data.zero_()
    assert next(net.parameters()).abs().sum() > 0


def test_the_vector_before_the_classifier_is_what_the_classifier_takes():
    for arch in CONVOLUTIONAL:
        net = build_model(arch, num_classes=5).eval()
        nn.init.normal_(net.get_classifier().weight)
        maps = net.forward_features(image(*taken_size(net), n=1))
        torch.testing.assert_close(net.get_classifier()(net.forward_head(maps, pre_logits=True)), net.forward_head(maps))


@pytest.mark.slow
def test_a_compiled_network_agrees():
    net = build_model("efficientnet_b0", num_classes=5).eval()
    with torch.inference_mode():
        compiled = torch.compile(net, backend="aot_eager")
        torch.testing.assert_close(compiled(image(64, 96)), net(image(64, 96)), atol=1e-5, rtol=1e-4)
