"""The decoders agree with torchvision's and segmentation_models.pytorch's, given the same weights."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.segmentation import deeplabv3_resnet50
from torchvision.models.segmentation.lraspp import LRASPPHead

from models.backbone import FeatureInfo
from models.segmenters.build import build_segmenter
from models.segmenters.decoder import size_of
from models.segmenters.deeplabv3plus import DeepLabV3Plus
from models.segmenters.lraspp import LiteRASPP
from models.segmenters.pspnet import PSPNet
from models.segmenters.segformer import SegFormerHead

CLASSES = 5
TOLERANCE = 2e-5


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def scrambled(module: nn.Module) -> nn.Module:
    """Return the module with random norms, which fresh ones would hide."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor, low in ((layer.running_mean, -0.5), (layer.running_var, 0.5), (layer.weight, 0.5), (layer.bias, -0.5)):
                assert tensor is not None
                tensor.data.uniform_(low, low + 1)
    return module.eval()


def copy_in_order(source: Iterable[tuple[str, Tensor]], target: nn.Module) -> None:
    """Give the target the tensors of the source, one after the other."""
    own = target.state_dict()
    given = list(source)
    assert len(given) == len(own), (len(given), len(own))
    with torch.no_grad():
        for (theirs, value), (name, tensor) in zip(given, own.items(), strict=True):
            assert value.numel() == tensor.numel(), (theirs, name)
            tensor.copy_(value.reshape(tensor.shape))


def maps_for(info: list[FeatureInfo], side: int = 64) -> list[Tensor]:
    return [torch.randn(2, each.channels, side // each.stride, side // each.stride) for each in info]


def assert_equal_logits(ours: Tensor, theirs: Tensor) -> None:
    scale = theirs.abs().max()
    worst = (ours - theirs).abs().max() / scale
    print(f"largest difference {worst:.1e} of the largest logit")
    assert ours.shape == theirs.shape
    assert worst < TOLERANCE


@pytest.mark.slow
def test_deeplabv3_is_torchvisions_with_its_auxiliary_head() -> None:
    theirs: Any = scrambled(deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=True))
    ours = build_segmenter("deeplabv3", encoder="resnet50", num_classes=CLASSES).eval()
    copy_in_order(theirs.state_dict().items(), ours)
    image = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        wanted = theirs(image)
        assert_equal_logits(ours(image), wanted["out"])
        assert ours.decoder.auxiliary is not None
        coarse = ours.decoder.auxiliary(ours.encoder(image)[-2])
        found = nn.functional.interpolate(coarse, size_of(image), mode="bilinear", align_corners=False)
        assert_equal_logits(found, wanted["aux"])


def test_lite_raspp_is_torchvisions() -> None:
    info = [FeatureInfo(40, 8), FeatureInfo(96, 16)]
    theirs = scrambled(LRASPPHead(40, 96, CLASSES, 128))
    ours = LiteRASPP(info, num_classes=CLASSES, drop_rate=None, output_stride=16).eval()
    copy_in_order(theirs.state_dict().items(), ours)
    low, high = maps_for(info)
    with torch.no_grad():
        assert_equal_logits(ours([low, high], (64, 64)), theirs({"low": low, "high": high}))


@pytest.mark.parametrize(("arch", "name"), [("unet", "Unet"), ("unetplusplus", "UnetPlusPlus")])
def test_the_u_nets_are_those_of_smp(arch: str, name: str) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    theirs = scrambled(getattr(smp, name)("resnet18", encoder_weights=None, classes=CLASSES))
    ours = build_segmenter(arch, encoder="resnet18", num_classes=CLASSES).eval()
    assert sum(each.numel() for each in ours.parameters()) == sum(each.numel() for each in theirs.parameters())
    ours.encoder.backbone.load_state_dict(theirs.encoder.state_dict())
    if arch == "unet":
        copy_in_order([*theirs.decoder.state_dict().items(), *theirs.segmentation_head.state_dict().items()], ours.decoder)
    else:
        blocks = theirs.decoder.blocks
        for key, block in ours.decoder.blocks.items():
            copy_in_order(blocks[f"x_{key}"].state_dict().items(), block)
        copy_in_order(blocks["x_0_4"].state_dict().items(), ours.decoder.last[0])
        copy_in_order(theirs.segmentation_head.state_dict().items(), ours.decoder.classifier)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert_equal_logits(ours(image), theirs(image))


def test_segformers_head_is_that_of_smp() -> None:
    decoder = pytest.importorskip("segmentation_models_pytorch.decoders.segformer.decoder")
    info = [FeatureInfo(8 * 2**level, 4 * 2**level) for level in range(4)]
    ours = SegFormerHead(info, num_classes=CLASSES, drop_rate=None, output_stride=None).eval()
    theirs = scrambled(decoder.SegformerDecoder([3, 0, *(each.channels for each in info)], segmentation_channels=256))
    # Theirs has the layer of the smallest map first.
    for layer, linear in zip(reversed(ours.linear), theirs.mlp_stage, strict=True):
        copy_in_order(linear.state_dict().items(), layer)
    copy_in_order(theirs.fuse_stage.state_dict().items(), ours.fuse)
    maps = maps_for(info)
    with torch.no_grad():
        wanted = theirs([torch.empty(2, 3, 64, 64), torch.empty(2, 0, 32, 32), *maps])
        assert_equal_logits(ours(maps, (64, 64)), ours.classifier(wanted))


@pytest.mark.parametrize("output_stride", [16, 8])
def test_deeplabv3plus_is_that_of_smp(output_stride: int) -> None:
    decoder = pytest.importorskip("segmentation_models_pytorch.decoders.deeplabv3.decoder")
    info = [FeatureInfo(24, 4), FeatureInfo(32, output_stride), FeatureInfo(64, output_stride)]
    ours = DeepLabV3Plus(info, num_classes=CLASSES, drop_rate=None, output_stride=output_stride).eval()
    rates = (6, 12, 18) if output_stride == 16 else (12, 24, 36)
    theirs = scrambled(decoder.DeepLabV3PlusDecoder([3, 16, 24, 28, 32, 64], 5, 256, rates, output_stride, True, 0.5))
    for mine, part in ((ours.aspp, theirs.aspp[0]), (ours.fine, theirs.block1), (ours.fuse, theirs.block2)):
        copy_in_order(part.state_dict().items(), mine)
    copy_in_order(theirs.aspp[1:].state_dict().items(), ours.conv)
    maps = maps_for(info)
    with torch.no_grad():
        wanted = theirs([maps[0]] * 3 + [maps[1]] * 2 + [maps[2]])
        assert_equal_logits(ours(maps, (64, 64)), ours.classifier(wanted))


def test_pspnet_is_that_of_smp() -> None:
    decoder = pytest.importorskip("segmentation_models_pytorch.decoders.pspnet.decoder")
    info = [FeatureInfo(32, 8), FeatureInfo(64, 8)]
    ours = PSPNet(info, num_classes=CLASSES, drop_rate=None, output_stride=8).eval()
    theirs = scrambled(decoder.PSPDecoder([32, 64]))
    copy_in_order(theirs.psp.state_dict().items(), ours.pooling)
    copy_in_order(theirs.conv.state_dict().items(), ours.conv)
    maps = maps_for(info, side=72)
    with torch.no_grad():
        assert_equal_logits(ours(maps, (72, 72)), ours.classifier(theirs(maps)))
