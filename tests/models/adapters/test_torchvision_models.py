"""Every classifier of torchvision keeps the contract."""

import copy

import pytest
import torch
import torchvision

from models import build_model, list_models
from models.adapters.torchvision_models import find_published
from models.find_published import published_preprocess
from models.weights import load_state
from utils.errors import UserError

LIGHT = (
    *("mobilenet_v2", "shufflenet_v2_x0_5", "squeezenet1_1", "densenet121", "googlenet", "mnasnet0_5", "regnet_y_400mf"),
    *("swin_t", "convnext_tiny", "efficientnet_b0"),
)
FIXED_SIZE = ("vit_", "maxvit_")
# One more of every kind; their larger siblings differ in numbers alone.
HEAVIER = (
    *("alexnet", "vgg11_bn", "inception_v3", "resnext50_32x4d", "regnet_x_400mf", "efficientnet_v2_s"),
    *("mobilenet_v3_small", "swin_v2_t", "vit_b_32", "maxvit_t"),
)
KINDS = [*LIGHT, *(pytest.param(name, marks=pytest.mark.slow) for name in HEAVIER)]


def size_for(name: str) -> tuple[int, int]:
    if name.startswith(FIXED_SIZE):
        return 224, 224
    return (107, 139) if name == "inception_v3" else (96, 128)


@pytest.mark.parametrize("name", KINDS)
def test_maps_head_and_classifier_fit_together(name):
    net = build_model(f"torchvision/{name}", num_classes=5).eval()
    x = torch.randn(2, 3, *size_for(name), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = net(x)
        maps = net.forward_features(x)
        vector = net.forward_head(maps, pre_logits=True)
        torch.testing.assert_close(net.forward_head(maps), logits)
        if not name.startswith("vit_"):  # there the class token alone makes the logits
            maps[-1] = 2 * maps[-1] + 1
            assert not torch.equal(net.forward_head(maps), logits)
    assert logits.shape == (2, 5)
    info = net.feature_info
    assert [each.shape[:2] for each in maps] == [(2, each.channels) for each in info]
    assert [each.stride for each in info] == sorted({each.stride for each in info})
    for each, shape in zip(info, [each.shape for each in maps], strict=True):
        assert abs(x.shape[-1] / each.stride - shape[-1]) <= 4
    assert vector.ndim == 2
    assert vector.shape[0] == 2

    net.reset_classifier(9)
    with torch.inference_mode():
        assert net(x).shape == (2, 9)
        assert net.forward_head(net.forward_features(x)).shape == (2, 9)


@pytest.mark.slow
@pytest.mark.parametrize("arch", [arch for arch in list_models("torchvision/*") if "/regnet" not in arch])
def test_every_classifier_shows_maps_and_a_head(arch):
    # Shapes alone: the meta device holds no numbers, so the largest network costs little. RegNets compute
    # their widths with tensors and cannot be built there; two of them are tested above.
    with torch.device("meta"):
        net = build_model(arch, num_classes=5).eval()
        x = torch.zeros(2, 3, 224, 224)
        maps = net.forward_features(x)
        assert net(x).shape == net.forward_head(maps).shape == (2, 5)
    assert [each.shape[:2] for each in maps] == [(2, each.channels) for each in net.feature_info]
    assert 1 < net.feature_info[-1].stride <= 32
    assert len(maps) >= (1 if "vit_" in arch.replace("maxvit", "") else 4)


@pytest.mark.parametrize("name", ["mobilenet_v2", "densenet121", "swin_t"])
def test_finding_the_maps_leaves_training_untouched(name):
    net = build_model(f"torchvision/{name}", num_classes=5).train()
    net.net.get_submodule(next(iter(dict(net.net.named_children())))).eval()
    modes = [module.training for module in net.modules()]
    before = copy.deepcopy(net.state_dict())
    generator = torch.get_rng_state()
    assert len(net.feature_info) >= 4
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())


def test_maps_and_head_work_in_training_and_in_a_copy():
    net = build_model("torchvision/mobilenet_v2", num_classes=5)
    x = torch.randn(2, 3, 64, 64)
    assert net.train().forward_head(net.forward_features(x)).requires_grad
    twin = copy.deepcopy(net).eval()
    twin.get_classifier().bias.data.fill_(7.0)
    torch.testing.assert_close(twin.forward_head(twin.forward_features(x)), twin(x))


def test_torchvision_state_dicts_load_by_their_own_names():
    theirs = torchvision.models.mobilenet_v2(weights=None, num_classes=5)
    net = build_model("torchvision/mobilenet_v2", num_classes=5)
    report = load_state(net, theirs.state_dict(), source="file.pth")
    assert (report.missing, report.unexpected, report.loaded) == ((), (), 314)
    again = build_model("torchvision/mobilenet_v2", num_classes=5)
    assert load_state(again, net.state_dict(), source="file.pth").loaded == 314
    torch.testing.assert_close(again.eval()(torch.ones(1, 3, 32, 32)), theirs.eval()(torch.ones(1, 3, 32, 32)))


def test_names_of_old_files_are_brought_up_to_date():
    net = build_model("torchvision/densenet121", num_classes=5)
    state = net.remap({"features.denseblock1.denselayer1.norm.1.weight": torch.zeros(1), "mlp.x": torch.zeros(1)})
    assert list(state) == ["net.features.denseblock1.denselayer1.norm1.weight", "net.mlp.x"]
    assert "net.encoder.mlp.0.bias" in net.remap({"encoder.mlp.linear_1.bias": torch.zeros(1)})


def test_dropout_is_set_beside_the_classifier_or_refused():
    net = build_model("torchvision/mobilenet_v2", num_classes=5, drop_rate=0.7)
    assert net.net.get_submodule("classifier.0").p == 0.7
    with pytest.raises(UserError, match="no dropout before its classifier"):
        build_model("torchvision/resnet18", num_classes=5, drop_rate=0.7)


def test_a_size_the_network_was_not_made_for_is_one_clear_line():
    net = build_model("torchvision/vit_b_32", num_classes=5)
    with pytest.raises(UserError, match=r"torchvision/vit_b_32 does not take images of 96 x 96 pixels \(Wrong image height"):
        net.check_size((96, 96))
    net.check_size((224, 224))


def test_wrong_names_are_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"Did you mean mobilenet_v2\?"):
        build_model("torchvision/mobilenet_v22", num_classes=5)


def test_every_classifier_has_weights_and_numbers():
    licenses = {}
    for arch in list_models("torchvision/*"):
        published = find_published(arch.partition("/")[2])
        assert published is not None
        assert published.url.startswith("https://")
        licenses[arch] = published.license
    for_research = [arch for arch, license in licenses.items() if license == "CC-BY-NC-4.0"]
    assert for_research == ["torchvision/regnet_y_128gf", "torchvision/vit_h_14"]
    assert set(licenses.values()) == {"CC-BY-NC-4.0", "BSD-3-Clause"}
    numbers = published_preprocess("torchvision/inception_v3")
    assert numbers is not None
    assert (numbers["mean"], numbers["size"]) == ((0.5, 0.5, 0.5), (299, 299))


@pytest.mark.parametrize(
    ("name", "info"),
    [
        ("mobilenet_v2", [(16, 2), (24, 4), (32, 8), (96, 16), (1280, 32)]),
        ("resnet50", [(64, 2), (256, 4), (512, 8), (1024, 16), (2048, 32)]),
        ("swin_t", [(96, 4), (192, 8), (384, 16), (768, 32)]),
        ("alexnet", [(64, 4), (192, 8), (256, 16), (256, 32)]),
    ],
)
def test_maps_are_the_ends_of_the_stages(name, info):
    net = build_model(f"torchvision/{name}", num_classes=5)
    assert [(each.channels, each.stride) for each in net.feature_info] == info
