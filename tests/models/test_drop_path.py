"""Claims about --drop_path: who skips how often is what timm says, for our networks and those of other packages."""

import math

import pytest
import torch
from torchvision.ops import StochasticDepth as TorchvisionDepth

from models import build_model
from models.layers.stochastic_depth import StochasticDepth
from utils.errors import UserError

timm = pytest.importorskip("timm")

TWINS = {
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "mobilenetv3_small": "tf_mobilenetv3_small_100",
    "mobilenetv3_large": "tf_mobilenetv3_large_100",
    "efficientnet_b0": "tf_efficientnet_b0",
    "vit_tiny_patch16_224": "vit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224": "swin_tiny_patch4_window7_224",
    "convnext_tiny": "convnext_tiny",
    "torchvision/efficientnet_b0": "efficientnet_b0",
    "torchvision/swin_t": "swin_tiny_patch4_window7_224",
    "torchvision/convnext_tiny": "convnext_tiny",
}


def skipping(net):
    """Rates of the branches that stand beside a shortcut and are skipped at all, ascending, each once."""
    found = set()
    for module in net.modules():
        # The blocks of timm, of ours and of torchvision know by these names whether they have a shortcut.
        if not all(getattr(module, name, True) for name in ("has_skip", "residual", "use_res_connect")):
            continue
        for child in module.children():
            if isinstance(child, StochasticDepth):
                found.add(child.rate)
            elif isinstance(child, timm.layers.DropPath):
                found.add(child.drop_prob)
            elif isinstance(child, TorchvisionDepth):
                found.add(child.p)
    return sorted({round(float(rate), 6) for rate in found} - {0.0})


@pytest.mark.parametrize("arch", TWINS)
def test_rates_are_those_of_timm(arch):
    rates = skipping(build_model(arch, num_classes=3, drop_path=0.24))
    assert len(rates) > 3
    assert rates == pytest.approx(skipping(timm.create_model(TWINS[arch], drop_path_rate=0.24)), abs=2e-6)


def test_the_default_is_what_was_published():
    assert skipping(build_model("resnet18", num_classes=3)) == []
    assert max(skipping(build_model("efficientnet_b0", num_classes=3))) == pytest.approx(0.2 * 14 / 16)
    assert skipping(build_model("efficientnet_b0", num_classes=3, drop_path=0.0)) == []
    assert max(skipping(build_model("swin_tiny_patch4_window7_224", num_classes=3))) == pytest.approx(0.2)
    assert max(skipping(build_model("convnext_tiny", num_classes=3))) == pytest.approx(0.1)
    assert skipping(build_model("timm/vit_tiny_patch16_224", num_classes=3, drop_path=0.1))[-1] == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "mobilenetv3_small", "efficientnet_b0"])
def test_branches_are_skipped_in_training_alone_and_by_the_random_stream(arch):
    net = build_model(arch, num_classes=3, drop_rate=0.0, drop_path=0.9)
    # A branch that starts at zero would not be missed.
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
            module.momentum = 0.0
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    net.train()

    def logits(seed):
        torch.manual_seed(seed)
        with torch.no_grad():
            return net(images)

    assert torch.equal(logits(1), logits(1))
    assert not torch.allclose(logits(1), logits(2))
    net.eval()
    assert torch.equal(logits(1), logits(2))


def test_a_skipped_branch_leaves_the_shortcut_and_the_mean_stays():
    net = build_model("resnet18", num_classes=3, drop_path=0.5)
    block = net.layer4[1]
    torch.nn.init.ones_(block.bn2.weight)
    block.train()
    image = torch.rand(1, 512, 2, 2).repeat(400, 1, 1, 1)
    torch.manual_seed(0)
    with torch.no_grad():
        block.bn1.eval()
        block.bn2.eval()
        whole = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(image)))))
        out = block(image)
    skipped = (out == block.relu(image)).flatten(1).all(1)
    assert float(skipped.float().mean()) == pytest.approx(0.5, abs=3 * math.sqrt(0.25 / 400))
    torch.testing.assert_close(out[~skipped], block.relu(image + 2 * whole)[~skipped])


@pytest.mark.parametrize("arch", ["torchvision/resnet18", "torchvision/vgg11", "timm/vgg11"])
def test_a_network_without_such_branches_says_so(arch):
    with pytest.raises(UserError, match=rf"--drop_path 0.1: {arch} has no residual branches"):
        build_model(arch, num_classes=3, drop_path=0.1)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_is_a_probability_below_one(rate):
    with pytest.raises(UserError, match="drop_path"):
        build_model("resnet18", num_classes=3, drop_path=rate)
