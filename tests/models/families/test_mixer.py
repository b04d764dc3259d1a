"""MLP-Mixer computes what timm's computes."""

import pytest
import torch
from torch import nn

from models.families.mixer import PUBLISHED, VARIANTS, MLPMixer
from tests.models.families.same_as_timm import assert_twins, blurred, count_parameters, quarters, their_twin, timm
from utils.errors import UserError

SMALL = "mixer_s32_224"
# timm has no such name; its class builds the network.
HUGE = "mixer_h14_224"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_timm_weights_give_the_same_logits_maps_and_cost(dtype):
    ours, theirs = MLPMixer(SMALL, num_classes=7, image_size=(64, 96)), their_twin(SMALL, img_size=(64, 96))
    assert count_parameters(ours) == count_parameters(theirs)
    assert_twins(ours, theirs, (64, 96), maps=quarters, dtype=dtype)


@pytest.mark.slow
@pytest.mark.parametrize("arch", VARIANTS)
def test_they_do_so_for_every_variant(arch):
    if arch == HUGE:
        theirs = blurred(timm.models.MlpMixer(num_classes=7, img_size=224, patch_size=14, num_blocks=32, embed_dim=1280))
        nn.init.normal_(theirs.head.weight, std=0.1)
    else:
        theirs = their_twin(arch)
    ours = MLPMixer(arch, num_classes=7)
    assert count_parameters(ours) == count_parameters(theirs)
    assert_twins(ours, theirs, (224, 224), maps=quarters)


def test_an_image_of_another_size_is_refused():
    net = MLPMixer(SMALL, num_classes=3)
    net.check_size((224, 224))
    with pytest.raises(UserError, match="mixer_s32_224 takes images of 224 x 224 pixels alone: --image_size 224 224"):
        net.check_size((256, 256))


def test_the_classifier_starts_at_zero_and_the_rest_does_not():
    net = MLPMixer(SMALL, num_classes=3)
    assert not net.head.weight.any()
    assert float(net.blocks[0].mlp_tokens.fc1.bias.detach().std()) == pytest.approx(1e-6, rel=0.2)
    net.reset_classifier(5)
    assert not net.head.weight.any()


def test_the_stem_starts_as_that_of_timm():
    torch.manual_seed(0)
    ours, theirs = MLPMixer(SMALL, num_classes=3).stem.proj, timm.create_model(SMALL).stem.proj
    assert float(ours.weight.detach().std()) == pytest.approx(float(theirs.weight.detach().std()), rel=0.01)
    assert float(ours.weight.detach().abs().max()) == pytest.approx(float(theirs.weight.detach().abs().max()), rel=0.01)
    assert not ours.bias.any()
    assert not theirs.bias.any()


def test_published_files_are_the_ones_timm_names():
    for arch, published in PUBLISHED.items():
        theirs = timm.get_pretrained_cfg(arch)
        assert published.url == f"https://huggingface.co/{theirs.hf_hub_id}/resolve/main/model.safetensors"
        assert (published.mean, published.std, published.interpolation) == (theirs.mean, theirs.std, theirs.interpolation)
        assert published.license.lower() == theirs.license
