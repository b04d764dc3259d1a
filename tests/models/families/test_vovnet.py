"""VoVNet computes what timm's VoVNet computes with the pools, gates and shortcuts of the published networks."""

from typing import Any

import pytest
import torch
from torch import nn

from models.families.vovnet import PUBLISHED, VARIANTS, VoVNet
from utils.networks.summary import summarize

timm = pytest.importorskip("timm")

LIGHT = ("vovnet27_slim", "vovnet19_slim_ese")
ALL = [arch if arch in LIGHT else pytest.param(arch, marks=pytest.mark.slow) for arch in VARIANTS]
# Blocks, convolutions a block, gates or not, and millions of parameters as vision-toolbox's table prints them.
PLANS = {
    "vovnet27_slim": ([1, 1, 1, 1], 5, False, "3.01"),
    "vovnet39": ([1, 1, 2, 2], 5, False, "21.58"),
    "vovnet57": ([1, 1, 4, 3], 5, False, "35.62"),
    "vovnet19_slim_ese": ([1, 1, 1, 1], 3, True, "2.68"),
    "vovnet19_ese": ([1, 1, 1, 1], 3, True, "10.18"),
    "vovnet39_ese": ([1, 1, 2, 2], 5, True, "25.18"),
    "vovnet57_ese": ([1, 1, 4, 3], 5, True, "41.45"),
    "vovnet99_ese": ([1, 3, 9, 3], 5, True, "69.52"),
}


def twin(arch: str, classes: int = 7) -> Any:
    """timm's network, with a pool before every stage, a gate in every block, and a shortcut where the width stays."""
    from timm.layers.squeeze_excite import EffectiveSEModule
    from timm.models.vovnet import VovNet

    depths, convs, gated, _ = PLANS[arch]
    slim = "slim" in arch
    widths = [128, 256, 384, 512] if slim else [256, 512, 768, 1024]
    cfg = {
        "stem_chs": [64, 64, 128],
        "stage_conv_chs": [64, 80, 96, 112] if slim else [128, 160, 192, 224],
        "stage_out_chs": widths,
        "block_per_stage": depths,
        "layer_per_block": convs,
        "residual": True,
        "depthwise": False,
        "attn": "",
    }
    net: Any = VovNet(cfg, num_classes=classes, stem_stride=2)
    channels = 128
    for stage, width in zip(net.stages, widths, strict=True):
        stage.pool = nn.MaxPool2d(3, 2, 1)
        for block in stage.blocks:
            block.residual = channels == width
            block.attn = EffectiveSEModule(width) if gated else None
            channels = width
    return net


def pair(arch: str, randomize) -> tuple[VoVNet, Any]:
    """Both list their tensors in the order of the computation."""
    theirs, ours = randomize(twin(arch)), VoVNet(arch, num_classes=7)
    names, tensors = ours.state_dict(), theirs.state_dict().values()
    ours.load_state_dict(dict(zip(names, tensors, strict=True)))
    return ours, theirs


@pytest.mark.parametrize("arch", ALL)
def test_timms_parts_give_the_same_logits(arch, randomize, assert_same_logits):
    assert_same_logits(*pair(arch, randomize))


def test_maps_and_logits_agree_in_double_precision(randomize):
    ours, theirs = pair("vovnet19_slim_ese", randomize)
    for net in (ours, theirs):
        net.double().eval()
    x = torch.randn(2, 3, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-9, rtol=1e-9)
        _, stages = theirs.forward_intermediates(x)
        for mine, other in zip(ours.forward_features(x)[1:], stages[-4:], strict=True):
            torch.testing.assert_close(mine, other, atol=1e-9, rtol=1e-9)


def test_gradients_in_training_are_those_of_timms_parts(randomize, assert_same_gradients):
    assert_same_gradients(*pair("vovnet19_slim_ese", randomize))


@pytest.mark.parametrize("arch", ALL)
def test_parameters_without_classifier_are_those_of_the_published_table(arch):
    with torch.device("meta"):
        net = VoVNet(arch, num_classes=1)
    count = sum(each.numel() for each in net.parameters()) - sum(each.numel() for each in net.fc.parameters())
    assert f"{count / 1e6:.2f}" == PLANS[arch][3]


def test_multiply_adds_are_those_of_timms_parts():
    a, b = (summarize(net, (64, 64), torch.device("cpu")) for net in (VoVNet("vovnet27_slim", num_classes=7), twin("vovnet27_slim")))
    assert (a.product_multiply_adds, a.parameters) == (b.product_multiply_adds, b.parameters)


def test_names_of_the_published_files_are_known():
    with torch.device("meta"):
        net = VoVNet("vovnet39_ese", num_classes=2)
    theirs = {}
    for name, tensor in net.state_dict().items():
        parts = name.replace(".norm.", ".bn.").split(".")
        if parts[0] == "stages":
            parts[2] = f"module_{int(parts[2]) - 1}"
        theirs[".".join(parts)] = tensor
    assert "stages.3.module_1.ese.linear.weight" in theirs
    assert set(net.remap(theirs)) == set(net.state_dict())


def test_published_weights_take_pixels_from_0_to_1():
    assert all(each.mean == (0, 0, 0) and each.std == (1, 1, 1) for each in PUBLISHED.values())
