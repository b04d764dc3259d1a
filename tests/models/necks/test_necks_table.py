"""Every neck of the table joins the maps of every kind of backbone, at any size, in every form that ships."""

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import build_model
from models.backbone import FeatureInfo
from models.necks import NECKS, build_neck
from utils.errors import UserError

INFO = [FeatureInfo(8, 4), FeatureInfo(12, 8), FeatureInfo(16, 16), FeatureInfo(24, 32)]
SPECS = {
    "fpn": "fpn(channels=16)",
    "fpn_inner": "fpn(channels=16,inner=True)",
    "semantic_fpn": "semantic_fpn(channels=32,fpn_channels=16)",
    "pan": "pan(channels=16)",
    "bifpn": "bifpn(channels=16,layers=2)",
    "bifpn_plain": "bifpn(channels=16,weighted=False,separable=False)",
    "spp": "spp",
    "sppf": "sppf(channels=20)",
    "chain": "sppf|pan(channels=16,inner=True)",
}


def images_maps(height: int = 70, width: int = 101, n: int = 2) -> list[Tensor]:
    """Maps of an odd image, as strided convolutions with padding give them."""
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(n, each.channels, -(-height // each.stride), -(-width // each.stride), generator=draw) for each in INFO]


def settled(spec: str) -> Any:
    """The neck in evaluation, with batch norms that do something."""
    torch.manual_seed(1)
    neck = build_neck(spec, INFO).eval()
    for layer in neck.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            layer.running_mean.normal_(0, 0.1)
            layer.bias.data.normal_(0, 0.1)
    return neck


def test_every_row_is_tried_here():
    assert set(NECKS) <= {spec.partition("(")[0] for spec in SPECS.values()}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_what_comes_out_is_what_it_says(spec):
    neck, maps = build_neck(spec, INFO), images_maps()
    outputs = neck(maps)
    strides = {each.stride: each_map.shape[-2:] for each, each_map in zip(INFO, maps, strict=True)}
    assert [tuple(each.shape) for each in outputs] == [(2, each.channels, *strides[each.stride]) for each in neck.feature_info]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_training_step_reaches_every_parameter(spec):
    neck = build_neck(spec, INFO).train()
    torch.stack([each.square().mean() for each in neck(images_maps())]).sum().backward()
    grads = {name: each.grad for name, each in neck.named_parameters()}
    assert all(grad is not None and grad.isfinite().all() for grad in grads.values())
    assert all(grad is not None and grad.abs().sum() > 0 for name, grad in grads.items() if name.endswith("weight"))


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_scripted_neck_agrees_at_every_size_and_survives_a_file(spec):
    neck = settled(spec)
    written = io.BytesIO()
    torch.jit.save(torch.jit.script(neck), written)
    written.seek(0)
    scripted = torch.jit.load(written)
    for size in ((70, 101), (64, 64)):
        with torch.inference_mode():
            torch.testing.assert_close(scripted(images_maps(*size)), neck(images_maps(*size)))


class Together(nn.Module):
    """Maps of an image and their neck, as they are exported."""

    def __init__(self, spec: str) -> None:
        super().__init__()
        inputs = [3, *(each.channels for each in INFO)]
        self.stages = nn.ModuleList(
            nn.Conv2d(inputs[i], each.channels, 4 if i == 0 else 3, 4 if i == 0 else 2, 1) for i, each in enumerate(INFO)
        )
        self.neck = build_neck(spec, INFO)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return self.neck(maps)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_an_onnx_file_agrees_at_another_size_and_batch(spec, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    net, file = Together(spec).eval(), tmp_path / "net.onnx"
    dynamic = {"x": {0: torch.export.Dim("n"), 2: torch.export.Dim("h", min=33), 3: torch.export.Dim("w", min=33)}}
    torch.onnx.export(net, (torch.randn(2, 3, 128, 160),), file, input_names=["x"], dynamic_shapes=dynamic, dynamo=True)
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for shape in ((2, 3, 128, 160), (3, 3, 97, 141)):
        x = torch.randn(*shape)
        with torch.inference_mode():
            expected = net(x)
        for mine, theirs in zip(session.run(None, {"x": x.numpy()}), expected, strict=True):
            torch.testing.assert_close(torch.from_numpy(mine), theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("arch", ["resnet18", "mobilenetv3_small", "darknet_yolov5n", "vovnet19_slim_ese", "timm/efficientnet_b0"])
def test_the_last_maps_of_every_kind_of_backbone_fit(arch):
    if arch.startswith("timm/"):
        pytest.importorskip("timm")
    net = build_model(arch, num_classes=2).eval()
    neck = build_neck("sppf|bifpn(channels=8)", net.feature_info[-3:])
    with torch.inference_mode():
        outputs = neck(net.forward_features(torch.randn(1, 3, 71, 90))[-3:])
    assert [each.shape[1] for each in outputs] == [8, 8, 8]


def test_the_last_maps_of_a_backbone_that_rounds_down_are_cut_to_size():
    maps = [torch.randn(1, each.channels, *size) for each, size in zip(INFO, ((35, 51), (17, 25), (8, 12), (4, 6)), strict=True)]
    for spec in SPECS.values():
        if not spec.startswith("semantic"):
            assert [each.shape[-2:] for each in build_neck(spec, INFO)(maps)] == [each.shape[-2:] for each in maps]


@pytest.mark.parametrize(
    ("spec", "info", "message"),
    [
        ("fnp", INFO, "unknown neck 'fnp'. Did you mean fpn?"),
        ("fpn(width=3)", INFO, "cannot be built with these arguments"),
        ("fpn", [FeatureInfo(8, 16), FeatureInfo(8, 16)], r"these have the strides \[16, 16\]"),
        ("pan", INFO[:1], "two or more maps"),
        ("bifpn(layers=0)", INFO, "give 1 or more"),
        ("semantic_fpn(channels=20)", INFO, "a multiple of 32"),
        ("spp(kernel=4)", INFO, "an odd number"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(spec, info, message):
    with pytest.raises(UserError, match=message):
        build_neck(spec, info)
