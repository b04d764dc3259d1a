"""AlexNet computes what torchvision's computes; ZFNet has the maps of the paper's figure."""

import pytest
import torch
import torchvision

from models import build_model
from models.families.alexnet import PUBLISHED, AlexNet
from models.weights import load_state
from utils.errors import UserError


@pytest.fixture(scope="module")
def zfnet():
    return AlexNet("zfnet", num_classes=7).eval()


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)])
def test_torchvision_weights_give_the_same_logits(dtype):
    theirs, ours = torchvision.models.alexnet(num_classes=7).to(dtype).eval(), AlexNet("alexnet", num_classes=7).to(dtype).eval()
    assert load_state(ours, theirs.state_dict(), source="theirs").missing == ()
    x = torch.randn(2, 3, 96, 64, dtype=dtype)
    tolerance = 1e-4 if dtype is torch.float32 else 1e-9
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), atol=tolerance, rtol=tolerance)


def test_zfnet_has_the_maps_of_its_paper(zfnet):
    with torch.no_grad():
        maps = zfnet.forward_features(torch.zeros(1, 3, 224, 224))
    assert [tuple(each.shape[1:]) for each in maps] == [(96, 110, 110), (96, 55, 55), (256, 26, 26), (256, 13, 13), (256, 6, 6)]
    weights = [each for name, each in zfnet.named_parameters() if name.endswith("weight")]
    assert [tuple(each.shape[:2]) for each in weights[:5]] == [(96, 3), (256, 96), (384, 256), (384, 384), (256, 384)]


def test_zfnet_normalizes_across_channels_as_the_formula_says(zfnet):
    x = torch.rand(2, 96, 3, 4) * 20
    squares = torch.nn.functional.pad(x**2, (0, 0, 0, 0, 2, 2))
    sums = sum(squares[:, k : k + 96] for k in range(5))
    torch.testing.assert_close(zfnet.features[3](x), x / (2 + 1e-4 * sums) ** 0.75)


def test_the_least_size_is_what_the_layers_need(zfnet):
    zfnet.check_size((53, 60))
    with torch.no_grad():
        assert zfnet(torch.zeros(1, 3, 53, 60)).shape == (1, 7)
        with pytest.raises(RuntimeError):
            zfnet(torch.zeros(1, 3, 52, 60))
    with pytest.raises(UserError, match="52 x 60 pixels are too small for this network; the least is 53 a side"):
        zfnet.check_size((52, 60))


def test_published_file_is_the_one_torchvision_names():
    assert PUBLISHED["alexnet"].url == torchvision.models.AlexNet_Weights.DEFAULT.url


def test_drop_rate_reaches_both_dropouts():
    with torch.device("meta"):
        for rate, given in ((0.5, None), (0.1, 0.1)):
            net = build_model("alexnet", num_classes=3, drop_rate=given)
            assert [layer.p for layer in net.modules() if isinstance(layer, torch.nn.Dropout)] == [rate, rate]
