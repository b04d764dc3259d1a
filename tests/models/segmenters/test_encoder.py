"""Classifiers as encoders: without their head, dilated where a decoder wants it."""

import pytest
import torch
from torch import nn

from models import build_model
from models.segmenters.build import build_segmenter
from models.segmenters.encoder import Encoder
from utils.errors import UserError


@pytest.mark.parametrize("output_stride", [8, 16])
def test_a_dilated_network_says_at_every_few_places_what_the_published_one_says(output_stride: int) -> None:
    torch.manual_seed(0)
    plain, dense = build_model("resnet18", num_classes=1).eval(), build_model("resnet18", num_classes=1).eval()
    for layer in plain.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    dense.load_state_dict(plain.state_dict())
    encoder = Encoder(dense, "resnet18", strides=(4, 8, 16, 32), output_stride=output_stride).eval()
    image = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        wanted, found = plain.forward_features(image)[1:], encoder(image)
    for info, published, dilated in zip(encoder.info, wanted, found, strict=True):
        step = dilated.shape[-1] // published.shape[-1]
        assert dilated.shape[-1] == 64 // info.stride
        torch.testing.assert_close(dilated[:, :, ::step, ::step], published, rtol=1e-4, atol=1e-5)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("efficientnet_b0", "timm/mobilenetv3_small_050")]


@pytest.mark.parametrize("name", ["mobilenetv3_small", *SLOW])
def test_what_pads_by_itself_is_dilated_too(name: str) -> None:
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    encoder = Encoder(build_model(name, num_classes=1), name, strides=(4, 8, 16, 32), output_stride=8).eval()
    with torch.no_grad():
        assert [each.shape[-1] for each in encoder(torch.randn(1, 3, 64, 64))] == [16, 8, 8, 8]


def test_the_head_is_gone() -> None:
    encoder = Encoder(build_model("mobilenetv3_small", num_classes=7), "mobilenetv3_small", strides=(8, 32))
    names = [name for name, _ in encoder.named_parameters()]
    assert not [name for name in names if "classifier" in name]
    whole = build_model("mobilenetv3_small", num_classes=7)
    with_head = sum(each.numel() for each in whole.parameters())
    assert sum(each.numel() for each in encoder.parameters()) < with_head / 1.5


def test_an_encoder_without_dilatable_layers_is_refused() -> None:
    class Pooled(type(build_model("resnet18", num_classes=2))):
        """Its stages are made smaller by means."""

        def forward_features(self, x: torch.Tensor) -> list[torch.Tensor]:
            *maps, last = super().forward_features(x)
            return [*maps, nn.functional.avg_pool2d(last, 2)]

        @property
        def feature_info(self) -> list:
            from models.backbone import FeatureInfo

            *infos, last = super().feature_info
            return [*infos[:-1], FeatureInfo(last.channels, 32)]

    with pytest.raises(UserError, match="cannot be dilated to stride 16"):
        Encoder(Pooled("resnet18", num_classes=2), "pooled", strides=(32,), output_stride=16)


def test_output_stride_is_for_dilated_decoders() -> None:
    with pytest.raises(UserError, match=r"--output_stride 8: unet has no dilated encoder"):
        build_segmenter("unet", num_classes=2, output_stride=8)
    with pytest.raises(UserError, match=r"--output_stride 4: lraspp takes 16 or 8"):
        build_segmenter("lraspp", num_classes=2, output_stride=4)


@pytest.mark.parametrize("name", ["mobilenetv3_small", "resnet18", "torchvision/mobilenet_v2"])
def test_what_comes_behind_the_last_wanted_map_is_taken_off(name: str) -> None:
    torch.manual_seed(0)
    encoder = Encoder(build_model(name, num_classes=1), name, strides=(4, 8, 16, 32)).eval()
    image, size = torch.randn(2, 3, 64, 96), sum(each.numel() for each in encoder.parameters())
    with torch.no_grad():
        before = encoder(image)
        encoder.shorten(3)
        found = encoder(image)
    assert [each.stride for each in encoder.info] == [4, 8, 16]
    assert all(map(torch.equal, before, found))
    assert len(found) == 3
    assert sum(each.numel() for each in encoder.parameters()) < 0.7 * size


def test_a_network_that_does_not_run_in_part_stays_whole() -> None:
    class Rigid(type(build_model("resnet18", num_classes=2))):
        """It looks at its last map."""

        def forward_features(self, x: torch.Tensor) -> list[torch.Tensor]:
            maps = super().forward_features(x)
            assert maps[-1].shape[1] == 512
            return maps

    encoder = Encoder(Rigid("resnet18", num_classes=2), "rigid", strides=(4, 8, 16, 32)).eval()
    names, image = list(encoder.state_dict()), torch.randn(1, 3, 64, 64)
    encoder.shorten(3)
    assert list(encoder.state_dict()) == names
    assert len(encoder(image)) == 4
