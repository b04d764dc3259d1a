"""The pre-activation ResNet computes what timm's resnetv2 computes; the other order what a few lines of torch do."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models import build_model
from models.families.preact_resnet import PUBLISHED, VARIANTS, PreActBlock, PreActResNet
from models.weights import load_state

PAPER = [name for name in VARIANTS if not name.endswith("_bn_conv_relu")]


def twin(arch: str) -> nn.Module:
    timm = pytest.importorskip("timm")
    from timm.models.resnetv2 import ResNetV2

    plan = VARIANTS[arch]
    layers = timm.layers
    return ResNetV2(plan.depths, plan.widths, num_classes=7, conv_layer=layers.create_conv2d, norm_layer=layers.BatchNormAct2d)


def assert_parity(arch, theirs, dtype, tolerance):
    ours = PreActResNet(arch, num_classes=7)
    report = load_state(ours, theirs.state_dict(), source="theirs")
    assert (report.missing, report.unexpected, report.resized) == ((), (), ())
    ours.to(dtype).eval(), theirs.to(dtype).eval()
    x = torch.randn(2, 3, 64, 96, dtype=dtype, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        maps, (last, stages) = ours.forward_features(x), theirs.forward_intermediates(x)
        for mine, other in zip(maps, [*stages[:-1], last], strict=True):
            torch.testing.assert_close(mine, other, atol=tolerance, rtol=tolerance)
        torch.testing.assert_close(ours(x), theirs(x), atol=tolerance, rtol=tolerance)
    assert sum(each.numel() for each in ours.parameters()) == sum(each.numel() for each in theirs.parameters())


@pytest.mark.parametrize("arch", [PAPER[0], *(pytest.param(name, marks=pytest.mark.slow) for name in PAPER[1:])])
def test_timm_weights_give_the_same_maps_and_logits(arch, randomize):
    assert_parity(arch, randomize(twin(arch)), torch.float32, 1e-4)


def test_the_difference_to_timm_is_rounding(randomize):
    assert_parity("resnet_26", randomize(twin("resnet_26")), torch.float64, 1e-9)


def test_gradients_in_training_are_those_of_timm(randomize, assert_same_gradients):
    theirs = randomize(twin("resnet_20"))
    ours = PreActResNet("resnet_20", num_classes=7)
    load_state(ours, theirs.state_dict(), source="theirs")
    mine = dict(ours.named_parameters())
    # Both list the same tensors, but timm's projections stand before a block's norms.
    order = [name for name in ours.remap(dict(theirs.named_parameters())) if name in mine]
    assert len(order) == len(mine)
    sort_parameters(ours, order)
    assert_same_gradients(ours, theirs)


def sort_parameters(net: nn.Module, order: list[str]) -> None:
    """Let `parameters` list the tensors of `net` in this order; the classifier's shape is timm's meanwhile."""
    by_name = dict(net.named_parameters())
    net.fc = Flat(net.fc)
    by_name["fc.weight"] = net.fc.weight
    net.parameters = lambda: [by_name[name] for name in order]


class Flat(nn.Module):
    """A linear layer whose weight has the shape of a 1x1 convolution's."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(layer.weight.detach()[..., None, None]), layer.bias

    def forward(self, x):
        return F.linear(x, self.weight.flatten(1), self.bias)


def written_out(net: PreActResNet, x: torch.Tensor) -> torch.Tensor:
    """The order batch norm, convolution, ReLU from the state dict alone."""
    state = net.state_dict()

    def unit(x, norm, conv, stride=1, padding=0):
        mean, var, scale, shift = (state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        x = F.batch_norm(x, mean, var, scale, shift)
        return F.relu(F.conv2d(x, state[f"{conv}.weight"], state[f"{conv}.bias"], stride, padding))

    x = F.max_pool2d(unit(x, "stem.norm", "stem.conv", 2, 3), 3, 2, 1)
    for stage, depth in enumerate(net.arch.depths):
        for index in range(depth):
            at, stride = f"stages.{stage}.blocks.{index}", 2 if stage and not index else 1
            shortcut = x if index else F.conv2d(x, state[f"{at}.downsample.conv.weight"], state[f"{at}.downsample.conv.bias"], stride)
            inner = unit(unit(x, f"{at}.norm1", f"{at}.conv1"), f"{at}.norm2", f"{at}.conv2", stride, 1)
            x = shortcut + unit(inner, f"{at}.norm3", f"{at}.conv3")
    return F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])


def test_the_other_order_is_batch_norm_convolution_relu(randomize):
    net = randomize(PreActResNet("resnet_20_bn_conv_relu", num_classes=7)).double().eval()
    for name, each in net.named_parameters():
        if name.endswith("bias"):
            nn.init.uniform_(each, -0.2, 0.2)
    x = torch.randn(2, 3, 48, 64, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(net(x), written_out(net, x), atol=1e-9, rtol=1e-9)


def test_both_orders_train_every_parameter():
    for arch in ("resnet_20", "resnet_20_bn_conv_relu"):
        net = PreActResNet(arch, num_classes=3).train()
        F.cross_entropy(net(torch.randn(4, 3, 48, 64)), torch.tensor([0, 1, 2, 0])).backward()
        assert all(each.grad is not None and each.grad.abs().sum() > 0 for name, each in net.named_parameters() if "conv" in name)


@pytest.mark.parametrize("arch", VARIANTS)
def test_a_name_says_how_many_layers_with_weights_lie_in_a_row(arch):
    with torch.device("meta"):
        net = build_model(arch, num_classes=3)
    blocks = sum(isinstance(module, PreActBlock) for module in net.modules())
    assert 1 + 3 * blocks + 1 == int(arch.split("_")[1])


def test_convolutions_start_by_xavier_and_the_classifier_narrow():
    net = PreActResNet("resnet_20", num_classes=100)
    weight = net.stages[3]["blocks"][0].conv2.weight.detach()
    assert float(weight.std()) == pytest.approx((2 / (9 * (weight.shape[0] + weight.shape[1]))) ** 0.5, rel=0.02)
    assert float(net.fc.weight.detach().std()) == pytest.approx(0.01, rel=0.02)
    net.reset_classifier(50)
    assert float(net.fc.weight.detach().std()) == pytest.approx(0.01, rel=0.02)


def test_published_numbers_are_those_of_timm():
    timm = pytest.importorskip("timm")
    theirs, ours = timm.get_pretrained_cfg("resnetv2_50"), PUBLISHED["resnet_50"]
    assert f"/{theirs.hf_hub_id}/" in ours.url
    assert (ours.mean, ours.std, (3, *ours.size), ours.interpolation) == (theirs.mean, theirs.std, theirs.input_size, theirs.interpolation)
