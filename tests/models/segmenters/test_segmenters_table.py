"""Every decoder on every kind of encoder: sizes, gradients, and what cannot work is said in one line."""

import math

import pytest
import torch
from torch import Tensor

from models.segmenters import SEGMENTERS
from models.segmenters.build import build_segmenter
from models.segmenters.segmenter import SegmenterOutput
from utils.errors import UserError

CLASSES = 5


def logits_of(output: Tensor | SegmenterOutput) -> Tensor:
    return output.logits if isinstance(output, SegmenterOutput) else output


@pytest.mark.parametrize("arch", SEGMENTERS)
def test_logits_have_the_size_of_the_image_whatever_the_stride(arch: str) -> None:
    model = build_segmenter(arch, encoder="mobilenetv3_small", num_classes=CLASSES).eval()
    with torch.no_grad():
        for size in ((32, 32), (33, 50), (64, 96)):
            assert model(torch.rand(1, 3, *size)).shape == (1, CLASSES, *size)


@pytest.mark.parametrize("classes", [2, 20])
@pytest.mark.parametrize("arch", SEGMENTERS)
def test_the_first_loss_is_about_that_of_guessing(arch: str, classes: int) -> None:
    torch.manual_seed(0)
    model = build_segmenter(arch, encoder="mobilenetv3_small", num_classes=classes).train()
    truth = torch.arange(2 * 96 * 96).reshape(2, 96, 96) % classes
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(logits_of(model(torch.randn(2, 3, 96, 96))), truth)
    assert float(loss) - math.log(classes) < 0.7


@pytest.mark.parametrize("arch", SEGMENTERS)
def test_every_parameter_learns(arch: str) -> None:
    """What has no gradient would be waited for by several processes, and saved in vain."""
    model = build_segmenter(arch, encoder="mobilenetv3_small", num_classes=CLASSES).train()
    output = model(torch.rand(2, 3, 64, 64))
    parts = list(output) if isinstance(output, SegmenterOutput) else [output]
    torch.stack([part.square().sum() for part in parts]).sum().backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize("arch", SEGMENTERS)
def test_one_image_of_the_smallest_size_trains(arch: str) -> None:
    model = build_segmenter(arch, encoder="mobilenetv3_small", num_classes=CLASSES).train()
    for module in model.encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            # The maps of stride 32 have one pixel, which no encoder can normalize.
            module.eval()
    assert logits_of(model(torch.rand(1, 3, 64, 64))).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["efficientnet_b0", "torchvision/mobilenet_v2", "timm/convnext_atto"])
def test_any_encoder_with_maps_of_four_strides_will_do(encoder: str) -> None:
    if encoder.startswith("timm/"):
        pytest.importorskip("timm")
    model = build_segmenter("unet", encoder=encoder, num_classes=CLASSES).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 64, 40)).shape == (1, CLASSES, 64, 40)


@pytest.mark.parametrize(
    ("arch", "encoder", "said"),
    [
        pytest.param(
            "unet",
            "torchvision/vit_b_16",
            "maps of stride 4, 8, 16, 32 are wanted, and this network has maps of stride 16 alone",
            marks=pytest.mark.slow,
        ),
        ("unet", "unet", "--encoder unet is a segmenter itself"),
        ("unet", "nosuch", "unknown model 'nosuch'"),
        ("resnet18", None, "write --arch unet --encoder resnet18"),
        ("nosuch", None, "unknown segmenter 'nosuch'"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(arch: str, encoder: str | None, said: str) -> None:
    with pytest.raises(UserError, match=said) as refusal:
        build_segmenter(arch, encoder=encoder, num_classes=CLASSES)
    assert "\n" not in str(refusal.value)
