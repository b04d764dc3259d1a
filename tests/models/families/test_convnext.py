"""ConvNeXt computes what timm's and torchvision's compute."""

import re

import pytest
import torch
import torchvision
from torch import nn

from models.families.convnext import PUBLISHED, VARIANTS, ConvNeXt, ConvNeXtArch
from models.weights import load_state
from tests.models.families.same_as_timm import assert_twins, blurred, count_parameters, stages, their_twin, timm

SMALL = ("convnext_atto", "convnextv2_atto")


@pytest.mark.parametrize("arch", SMALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_timm_weights_give_the_same_logits_maps_and_cost(arch, dtype):
    compare(arch, size=(32, 64), dtype=dtype)


@pytest.mark.slow
@pytest.mark.parametrize("arch", VARIANTS)
def test_they_do_so_for_every_variant(arch):
    compare(arch)


def compare(arch, size=(64, 96), **settings):
    ours, theirs = ConvNeXt(arch, num_classes=7), their_twin(arch)
    assert count_parameters(ours) == count_parameters(theirs)
    assert_twins(ours, theirs, size, maps=stages, **settings)


def test_torchvision_weights_load_through_the_remap(monkeypatch, assert_same_logits):
    monkeypatch.setitem(VARIANTS, "convnext_tiny", ConvNeXtArch(16, (1, 2, 1, 1)))
    blocks = [
        torchvision.models.convnext.CNBlockConfig(16 * 2**stage, 32 * 2**stage if stage < 3 else None, (1, 2, 1, 1)[stage])
        for stage in range(4)
    ]
    theirs = blurred(torchvision.models.ConvNeXt(blocks, num_classes=7))
    nn.init.normal_(theirs.classifier[2].weight, std=0.1)
    for name, scale in theirs.named_parameters():
        if name.endswith("layer_scale"):
            nn.init.uniform_(scale, 0.5, 1.0)
    ours = ConvNeXt("convnext_tiny", num_classes=7)
    report = load_state(ours, theirs.state_dict(), source="torchvision")
    assert (report.loaded, report.missing, report.unexpected) == (report.total, (), ())
    assert_same_logits(ours, theirs, size=(75, 98))


@pytest.mark.parametrize("arch", SMALL)
def test_metas_files_load_through_the_remap(arch):
    net = ConvNeXt(arch, num_classes=7)
    theirs = {}
    for name, value in net.state_dict().items():
        name = re.sub(r"^head\.norm", "norm", name)
        name = re.sub(r"^head\.fc", "head", name)
        name = re.sub(r"^stem\.", "downsample_layers.0.", name)
        name = re.sub(r"^stages\.(\d)\.downsample", r"downsample_layers.\1", name)
        name = name.replace(".blocks.", ".").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv").replace("mlp.grn", "grn")
        if ".grn." in name:
            name, value = name.replace("weight", "gamma").replace("bias", "beta"), value.view(1, 1, 1, -1)
        theirs[name] = value
    assert {name: value.shape for name, value in net.remap(theirs).items()} == {name: each.shape for name, each in net.state_dict().items()}


def test_published_files_are_the_ones_timm_names():
    assert set(VARIANTS) - set(PUBLISHED) == {"convnextv2_small"}
    for arch, published in PUBLISHED.items():
        theirs = timm.get_pretrained_cfg(arch)
        assert published.url == f"https://huggingface.co/{theirs.hf_hub_id}/resolve/main/model.safetensors"
        assert (3, *published.size) == theirs.input_size
        assert (published.mean, published.std, published.interpolation) == (theirs.mean, theirs.std, theirs.interpolation)
        assert published.license.lower() == theirs.license
