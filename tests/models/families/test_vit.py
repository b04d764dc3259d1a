"""Vision transformers compute what timm's compute, at their own size and at others."""

from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn

from models.families.vit import PUBLISHED, VARIANTS, VisionTransformer
from models.layers.position_embedding import resize_positions
from models.maps.layout import FeatureMaps
from models.weights import load_state
from tests.models.families.same_as_timm import assert_twins, blurred, count_parameters, quarters, their_twin, timm
from utils.errors import UserError

# One of each kind: class token, mean, attention pooling, distillation token, tokens without position.
KINDS = (
    "vit_tiny_patch16_224",
    "vit_medium_patch16_gap_240",
    "vit_base_patch32_siglip_256",
    "deit_tiny_distilled_patch16_224",
    "deit3_small_patch16_224",
)
OTHER_GRIDS = [((14, 14), (24, 24)), ((14, 14), (3, 7)), ((5, 9), (9, 5)), ((16, 16), (15, 15)), ((2, 2), (1, 3))]


@pytest.fixture
def shallow(monkeypatch):
    """Four blocks instead of twelve."""
    for arch in KINDS:
        monkeypatch.setitem(VARIANTS, arch, replace(VARIANTS[arch], depth=4))


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("arch", KINDS)
def test_timm_weights_give_the_same_logits_maps_and_cost(arch):
    compare(arch, depth=4)


@pytest.mark.slow
@pytest.mark.parametrize("arch", VARIANTS)
def test_they_do_so_for_every_variant(arch):
    compare(arch)


def compare(arch, **settings):
    patch = VARIANTS[arch].patch
    size = (2 * patch, 3 * patch)
    ours, theirs = VisionTransformer(arch, num_classes=7, image_size=size), their_twin(arch, img_size=size, **settings)
    # Two classifiers of timm's are one here, with one bias instead of two.
    assert count_parameters(theirs) - count_parameters(ours) == (7 if VARIANTS[arch].distilled else 0)
    assert_twins(ours, theirs, size, maps=quarters)


@pytest.mark.usefixtures("shallow")
def test_they_agree_in_double_precision():
    arch = "deit_tiny_distilled_patch16_224"
    ours, theirs = VisionTransformer(arch, num_classes=7, image_size=(48, 64)), their_twin(arch, img_size=(48, 64), depth=4)
    assert_twins(ours, theirs, (48, 64), maps=quarters, dtype=torch.float64)


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("arch", ["vit_tiny_patch16_224", "deit3_small_patch16_224"])
def test_images_of_another_size_see_the_positions_as_timm_resamples_them(arch):
    theirs = their_twin(arch, dynamic_img_size=True, depth=4)
    assert_twins(VisionTransformer(arch, num_classes=7), theirs, (64, 240), maps=quarters, same_cost=False)


@pytest.mark.parametrize(("old", "new"), OTHER_GRIDS)
def test_positions_are_resampled_as_by_timm(old, new):
    given = torch.randn(1, old[0] * old[1], 8)
    expected = timm.layers.resample_abs_pos_embed(given, new_size=list(new), old_size=list(old), num_prefix_tokens=0)
    torch.testing.assert_close(resize_positions(given, old, wanted=new), expected, atol=1e-5, rtol=1e-5)


def test_resampled_positions_learn_and_stay_in_32_bits():
    net = VisionTransformer("vit_tiny_patch16_224", num_classes=3)
    with torch.autocast("cpu", torch.bfloat16):
        assert resize_positions(net.pos_embed[:, 1:], (14, 14), wanted=(2, 2)).dtype == torch.float32
        net(torch.randn(2, 3, 32, 32)).float().sum().backward()
    assert net.pos_embed.grad is not None
    assert (net.pos_embed.grad.abs().sum(-1) > 0).all()


@pytest.mark.parametrize("arch", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
def test_weights_of_another_size_load_with_resampled_positions(arch):
    source = VisionTransformer(arch, num_classes=3)
    target = VisionTransformer(arch, num_classes=3, image_size=(48, 80))
    report = load_state(target, source.state_dict(), source="file.pth")
    assert (report.loaded, report.missing, report.resized) == (report.total, (), ())
    x = torch.randn(2, 3, 48, 80)
    with torch.inference_mode():
        torch.testing.assert_close(target.eval()(x), source.eval()(x), atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("shallow")
def test_torchvision_weights_load_through_the_remap(assert_same_logits):
    theirs = torchvision.models.VisionTransformer(
        image_size=64, patch_size=16, num_layers=4, num_heads=3, hidden_dim=192, mlp_dim=768, num_classes=7
    )
    blurred(theirs)
    nn.init.normal_(theirs.heads.head.weight, std=0.1)
    ours = VisionTransformer("vit_tiny_patch16_224", num_classes=7, image_size=(64, 64))
    report = load_state(ours, theirs.state_dict(), source="torchvision")
    assert (report.loaded, report.missing, report.unexpected) == (report.total, (), ())
    assert_same_logits(ours, theirs, size=(64, 64))


def test_files_of_deit_3_name_their_scales_otherwise():
    net = VisionTransformer("deit3_small_patch16_224", num_classes=3, image_size=(16, 16))
    state = {name.replace(".ls1.gamma", ".gamma_1").replace(".ls2.gamma", ".gamma_2"): value for name, value in net.state_dict().items()}
    assert set(net.remap(state)) == set(net.state_dict())


def test_class_tokens_lie_beside_the_last_map():
    net = VisionTransformer("deit_tiny_distilled_patch16_224", num_classes=3, image_size=(32, 48)).eval()
    maps = net.forward_features(torch.randn(2, 3, 32, 48))
    assert isinstance(maps, FeatureMaps)
    assert maps.prefix is not None
    assert maps.prefix.shape == (2, 2, 192)
    assert net.forward_head(maps, pre_logits=True).shape == (2, 384)
    with pytest.raises(ValueError, match="hand on what forward_features gave"):
        net.forward_head(list(maps))


@pytest.mark.parametrize("size", [(100, 96), (8, 8)])
def test_a_size_that_is_no_multiple_of_the_patch_is_refused_with_one_that_is(size):
    net = VisionTransformer("vit_tiny_patch16_224", num_classes=3)
    net.check_size((32, 48))
    with pytest.raises(UserError, match=r"--image_size (96 96|16 16) is near"):
        net.check_size(size)


def test_published_files_are_the_ones_timm_names():
    for arch, published in PUBLISHED.items():
        theirs = timm.get_pretrained_cfg(arch)
        assert published.url == f"https://huggingface.co/{theirs.hf_hub_id}/resolve/main/model.safetensors"
        assert (3, *published.size) == theirs.input_size
        assert (published.mean, published.std, published.interpolation) == (theirs.mean, theirs.std, theirs.interpolation)
        assert published.license.lower() == theirs.license
