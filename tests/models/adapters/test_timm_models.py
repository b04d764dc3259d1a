"""Classifiers of timm keep the contract: one of every kind of layout."""

import builtins
import sys

import pytest
import torch

from models import build_model, list_models
from models.adapters import timm_models
from models.find_published import find_published
from models.weights import load_state
from utils.errors import UserError

# (name, image size): stages NCHW, stages NHWC, tokens with and without prefix, distilled.
KINDS = [
    ("resnet18", (64, 96)),
    ("convnext_atto", (64, 96)),
    ("mobilenetv3_small_050", (64, 96)),
    ("vit_tiny_patch16_224", (64, 96)),
    ("deit_tiny_distilled_patch16_224", (64, 96)),
    ("swin_tiny_patch4_window7_224", (224, 224)),
    ("mixer_s32_224", (224, 224)),
    ("vit_tiny_r_s16_p8_224", (64, 96)),
]


@pytest.fixture
def timm():
    return pytest.importorskip("timm")


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(("name", "size"), KINDS)
def test_maps_head_and_classifier_fit_together(name, size):
    net = build_model(f"timm/{name}", num_classes=5).eval()
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = net(x)
        maps = net.forward_features(x)
        torch.testing.assert_close(net.forward_head(maps), logits)
        assert net.forward_head(maps, pre_logits=True).ndim == 2
    assert logits.shape == (2, 5)
    info = net.feature_info
    assert [tuple(each.shape) for each in maps] == [(2, each.channels, size[0] // each.stride, size[1] // each.stride) for each in info]
    assert info[0].stride >= 2
    net.reset_classifier(9)
    with torch.inference_mode():
        assert net(x).shape == (2, 9)


@pytest.mark.usefixtures("timm")
def test_a_network_without_maps_says_so_and_still_classifies():
    net = build_model("timm/crossvit_tiny_240", num_classes=5).eval()
    with torch.inference_mode():
        assert net(torch.rand(1, 3, 240, 240)).shape == (1, 5)
        with pytest.raises(UserError, match="has no feature maps"):
            net.forward_features(torch.rand(1, 3, 240, 240))


def test_timm_state_dicts_load_by_their_own_names(timm):
    theirs = timm.create_model("mobilenetv3_small_050", num_classes=5)
    net = build_model("timm/mobilenetv3_small_050", num_classes=5)
    report = load_state(net, theirs.state_dict(), source="file.pth")
    assert (report.missing, report.unexpected, report.resized) == ((), (), ())
    torch.testing.assert_close(net.eval()(torch.ones(1, 3, 32, 32)), theirs.eval()(torch.ones(1, 3, 32, 32)))


def test_names_of_an_original_release_go_through_timms_translation():
    pytest.importorskip("timm")
    net = build_model("timm/convnext_atto", num_classes=5)
    original = {"downsample_layers.0.0.weight": torch.zeros(40, 3, 4, 4), "stages.0.0.dwconv.weight": torch.zeros(40, 1, 7, 7)}
    assert {"net.stem.0.weight", "net.stages.0.blocks.0.conv_dw.weight"} <= set(net.remap(original))


@pytest.mark.usefixtures("timm")
def test_weights_and_numbers_come_from_timm():
    published = find_published("timm/vit_tiny_patch16_224")
    assert published is not None
    assert published.url == "https://huggingface.co/timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k/resolve/main/model.safetensors"
    assert (published.mean, published.size) == ((0.5, 0.5, 0.5), (224, 224))
    tagged = find_published("timm/resnet18.tv_in1k")
    assert tagged is not None
    assert "resnet18.tv_in1k" in tagged.url


@pytest.mark.usefixtures("timm")
def test_wrong_names_and_tags_are_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"Did you mean resnet18"):
        build_model("timm/resnet188", num_classes=5)
    with pytest.raises(UserError, match=r"Did you mean resnet18\.tv_in1k"):
        build_model("timm/resnet18.tv_in2k", num_classes=5)
    assert "timm/resnet18" in list_models("timm/resnet1*")


def test_without_timm_the_line_says_what_to_install(monkeypatch):
    present = builtins.__import__
    monkeypatch.delitem(sys.modules, "timm", raising=False)

    def absent(name, *args, **kwargs):
        if name == "timm":
            raise ImportError("no timm")
        return present(name, *args, **kwargs)

    monkeypatch.setattr(timm_models.importlib, "import_module", absent)
    for call in (timm_models.list_names, lambda: timm_models.build("resnet18", num_classes=2, drop_rate=None)):
        with pytest.raises(UserError, match="pip install timm"):
            call()
