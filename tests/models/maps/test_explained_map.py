"""Every family shows a map to explain by, without a layer being named."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import SwinTransformer, VisionTransformer

from models import FAMILIES, build_model
from models.adapters.torchvision_models import TorchvisionModel
from models.adapters.wrapped import UserModel
from models.backbone import Backbone
from models.maps.explained_map import SMALLEST_SIDE, ContractView, LayerView, find_averaged, find_view
from utils.errors import UserError

# Large ones, and those that are asked for other sizes.
OTHERS = ("alexnet", "vgg", "vit", "cait", "mixer")
# (name, image size, kind of view): all own families, convolutions, tokens with and without a class token, channels last.
NETS = [
    *((family.variants[0], (128, 160), ContractView) for name, family in FAMILIES.items() if name not in OTHERS),
    ("vit_tiny_patch16_224", (64, 96), LayerView),
    ("cait_xxs24_224", (128, 160), ContractView),
    ("mixer_s32_224", (224, 224), ContractView),
    *(pytest.param(arch, (224, 256), ContractView, marks=pytest.mark.slow) for arch in ("alexnet", "vgg11")),
    ("resnet18", (32, 32), LayerView),
    ("torchvision/shufflenet_v2_x0_5", (128, 128), ContractView),
    ("torchvision/vit_b_32", (224, 224), LayerView),
    ("torchvision/swin_t", (128, 128), ContractView),
    ("timm/vit_tiny_patch16_224", (64, 96), LayerView),
    ("timm/convnext_atto", (128, 128), ContractView),
]


def build(arch: str) -> Backbone:
    """Return a network of the name with random weights; the two large ones of torchvision as small as they come."""
    if arch.startswith("timm/"):
        pytest.importorskip("timm")
    torch.manual_seed(0)
    if arch == "torchvision/vit_b_32":
        net = VisionTransformer(224, 32, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=3)
        model = TorchvisionModel(net, arch=arch, num_classes=3).eval()
    elif arch == "torchvision/swin_t":
        net = SwinTransformer([4, 4], 8, [1, 1, 2, 1], [1, 1, 2, 2], [7, 7], num_classes=3)
        model = TorchvisionModel(net, arch=arch, num_classes=3).eval()
    else:
        model = build_model(arch, num_classes=3).eval()
    # Some classifiers start at zero, where nothing has a gradient, and some branches of transformers near it.
    nn.init.normal_(model.get_classifier().weight, std=0.1)
    for name, value in model.named_parameters():
        if "gamma" in name:
            nn.init.ones_(value)
    return model


def images(size: tuple[int, int], count: int = 2) -> Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("arch", "size", "kind"), NETS)
def test_every_family_shows_a_map_on_which_its_answer_depends(arch, size, kind):
    model, x = build(arch), images(size)
    view = find_view(model, size)
    assert type(view) is kind
    maps, logits = view.look(x)
    assert maps.ndim == 4
    assert min(maps.shape[2:]) >= SMALLEST_SIDE
    with torch.no_grad():
        torch.testing.assert_close(logits.detach(), model(x), atol=1e-5, rtol=1e-4)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), maps)
    assert gradient.flatten(1).any(1).all()
    again = view.answers(x[:1], torch.cat([maps[:1].detach(), torch.zeros_like(maps[:1])]))
    torch.testing.assert_close(again[:1], logits[:1].detach(), atol=1e-5, rtol=1e-4)
    assert (again[1] - again[0]).abs().max() > 1e-3 * again[0].abs().max()


def test_the_gradient_of_the_map_is_that_of_the_whole_network():
    model, x = build("resnet18"), images((128, 128))
    view = find_view(model, (128, 128))
    maps, logits = view.look(x)
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), maps)
    kept = []
    handle = model.layer4.register_forward_hook(lambda _, __, output: kept.append(output))
    whole = model(x)[:, 1].sum()
    handle.remove()
    torch.testing.assert_close(gradient, torch.autograd.grad(whole, kept[0])[0])


@pytest.mark.parametrize("arch", ["resnet18", "efficientnet_b0", "torchvision/densenet121", "torchvision/shufflenet_v2_x0_5"])
def test_the_averaged_map_makes_the_logits(arch):
    model, x = build(arch), images((64, 96))
    averaged = find_averaged(model, (64, 96))
    assert averaged is not None
    with torch.no_grad():
        torch.testing.assert_close(model.get_classifier()(averaged(x).mean((2, 3))), model(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("arch", "size"), [("mobilenetv3_small", (64, 64)), ("resnet18", (32, 32)), ("timm/vit_tiny_patch16_224", (64, 64))]
)
def test_networks_whose_classifier_reads_no_mean_have_no_averaged_map(arch, size):
    assert find_averaged(build(arch), size) is None


def test_a_network_without_maps_is_told_in_one_line():
    model = UserModel(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 3)), arch="flat.py:Net", num_classes=3).eval()
    with pytest.raises(UserError, match=r"8 x 8 images leave no layer of the network with a map of 4 x 4"):
        find_view(model, (8, 8))
