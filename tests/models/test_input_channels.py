"""Networks take images of other channels, with what their first convolution has learned."""

import pytest
import torch

from models import build_model
from models.input_channels import fit_channels, set_input_channels
from models.weights import load_state
from utils.errors import UserError
from utils.networks.first_conv import first_conv, input_channels


def first_weight(net: torch.nn.Module) -> torch.Tensor:
    found = first_conv(net)
    assert found is not None
    return found[1].weight


WEIGHT = torch.randn(16, 3, 5, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("given", "channels"), [(3, 1), (3, 4), (3, 6), (1, 3), (4, 3)])
def test_an_image_of_equal_channels_gives_the_same_activations(given, channels):
    weight = WEIGHT[:, :1].expand(-1, 4, -1, -1).clone() if given == 4 else WEIGHT[:, :given]
    gray = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    before = torch.conv2d(gray.expand(-1, given, -1, -1), weight)
    after = torch.conv2d(gray.expand(-1, channels, -1, -1), fit_channels(weight, channels))
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


def test_one_channel_gets_the_sum_and_a_fourth_the_mean_of_the_others():
    torch.testing.assert_close(fit_channels(WEIGHT, 1)[:, 0], WEIGHT[:, 0] + WEIGHT[:, 1] + WEIGHT[:, 2])
    four = fit_channels(WEIGHT, 4)
    torch.testing.assert_close(four[:, :3], WEIGHT * 0.75)
    torch.testing.assert_close(four[:, 3], WEIGHT.mean(1) * 0.75)


@pytest.mark.parametrize("arch", ["resnet18", "efficientnet_b0", "mobilenetv3_small", "darknet_yolov5n", "vovnet19_slim_ese"])
@pytest.mark.parametrize("channels", [1, 4])
def test_every_family_takes_them(arch, channels):
    net = build_model(arch, num_classes=3)
    set_input_channels(net, channels)
    net.eval()
    assert input_channels(net) == channels
    with torch.inference_mode():
        assert net(torch.randn(2, channels, 48, 64)).shape == (2, 3)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto", "densenet121"])
def test_networks_of_timm_take_them_and_check_sizes_with_them(name):
    pytest.importorskip("timm")
    net = build_model(f"timm/{name}", num_classes=3)
    set_input_channels(net, 1)
    net.check_size((64, 64))


def test_loaded_weights_are_fitted_and_reported():
    source, target = build_model("mobilenetv3_small", num_classes=3), build_model("mobilenetv3_small", num_classes=3)
    set_input_channels(target, 1)
    report = load_state(target, source.state_dict(), source="file.pth")
    assert "first convolution fitted from 3 to 1 channels" in str(report)
    assert report.loaded == report.total
    torch.testing.assert_close(first_weight(target), first_weight(source).sum(1, keepdim=True))
    gray = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(target.eval()(gray), source.eval()(gray.expand(-1, 3, -1, -1)), atol=1e-4, rtol=1e-4)


def test_as_many_channels_as_before_change_nothing():
    net = build_model("mobilenetv3_small", num_classes=3)
    before = first_weight(net)
    set_input_channels(net, 3)
    assert first_weight(net) is before
    report = load_state(net, build_model("mobilenetv3_small", num_classes=3).state_dict(), source="file.pth")
    assert report.channels is None


def test_a_network_that_images_enter_otherwise_is_refused():
    with pytest.raises(UserError, match="do not enter a plain convolution"):
        set_input_channels(torch.nn.Linear(3, 3), 1)
