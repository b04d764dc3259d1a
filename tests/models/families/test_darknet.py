"""Darknet computes what timm's building blocks compute when they are put together by the same plan."""

from typing import Any

import pytest
import torch
from torch import nn

from models import build_model
from models.families.darknet import PUBLISHED, VARIANTS, Darknet, from_yolov5, to_yolov5
from models.weights import load_state
from utils.networks.summary import summarize

timm = pytest.importorskip("timm")

LIGHT = ("darknet_yolov5n", "darknet_yolov5s")
ALL = [arch if arch in LIGHT else pytest.param(arch, marks=pytest.mark.slow) for arch in VARIANTS]

# Blocks and widths as the authors of the networks write them; millions of parameters as vision-toolbox's table prints them.
PLANS = {
    "darknet19": ("dark", (0, 1, 1, 2, 2), (64, 128, 256, 512, 1024), "19.82"),
    "darknet53": ("dark", (1, 2, 8, 8, 4), (64, 128, 256, 512, 1024), "40.58"),
    "cspdarknet53": ("cs3", (1, 2, 8, 8, 4), (64, 128, 256, 512, 1024), "26.24"),
    "darknet_yolov5n": ("cs3", (1, 2, 3, 1), (32, 64, 128, 256), "0.88"),
    "darknet_yolov5s": ("cs3", (1, 2, 3, 1), (64, 128, 256, 512), "3.51"),
    "darknet_yolov5m": ("cs3", (2, 4, 6, 2), (96, 192, 384, 768), "10.69"),
    "darknet_yolov5l": ("cs3", (3, 6, 9, 3), (128, 256, 512, 1024), "23.96"),
    "darknet_yolov5x": ("cs3", (4, 8, 12, 4), (160, 320, 640, 1280), "45.18"),
}


def twin(arch: str, classes: int = 7) -> Any:
    """The same network, of timm's parts."""
    from timm.models.cspnet import CspModelCfg, CspNet, CspStagesCfg, CspStemCfg

    kind, depths, widths, _ = PLANS[arch]
    yolov5 = arch.startswith("darknet_yolov5")
    stem = CspStemCfg(out_chs=widths[0] // 2, kernel_size=6, stride=2, padding=2) if yolov5 else CspStemCfg(32, stride=1)
    block_ratio, bottle_ratio = (1.0, 0.5) if kind == "dark" else (0.5, 1.0)
    stages = CspStagesCfg(
        depths, widths, stage_type=kind, block_type="dark", block_ratio=block_ratio, bottle_ratio=bottle_ratio, down_growth=True
    )
    return CspNet(CspModelCfg(stem, stages, act_layer="relu"), num_classes=classes, zero_init_last=False)


def translated(arch: str, theirs: nn.Module, ours: nn.Module) -> dict[str, torch.Tensor]:
    """Their tensors under our names: one convolution there does both halves of a cross-stage, and joins them the other way around."""
    state = {name.replace(".bn.", ".norm."): tensor for name, tensor in theirs.state_dict().items()}
    renamed = {}
    for name, tensor in state.items():
        short = name.replace("conv_down", "conv").replace("stem.conv1", "stem").replace("head.fc", "fc")
        half = tensor.shape[0] // 2 if tensor.ndim else 0
        if "conv_exp" in short:
            renamed[short.replace("conv_exp", "conv2")] = tensor[:half] if half else tensor
            renamed[short.replace("conv_exp", "conv1")] = tensor[half:] if half else tensor
        elif "conv_transition" in short:
            join = tensor.roll(tensor.shape[1] // 2, dims=1) if tensor.ndim == 4 else tensor
            renamed[short.replace("conv_transition", "out_conv")] = join
        else:
            renamed[short] = tensor
    if arch == "darknet19":  # The stage without blocks is one convolution here.
        renamed = {name.replace("stages.0.conv.", "stages.0."): tensor for name, tensor in renamed.items()}
        renamed = {name.replace("stages.0.weight", "stages.0.conv.weight"): tensor for name, tensor in renamed.items()}
    assert set(renamed) == set(ours.state_dict())
    return renamed


def pair(arch: str, randomize) -> tuple[Darknet, Any]:
    theirs, ours = randomize(twin(arch)), Darknet(arch, num_classes=7)
    ours.load_state_dict(translated(arch, theirs, ours))
    return ours, theirs


@pytest.mark.parametrize("arch", ALL)
def test_timms_parts_give_the_same_logits(arch, randomize, assert_same_logits):
    assert_same_logits(*pair(arch, randomize))


@pytest.mark.parametrize("arch", ["darknet_yolov5n", pytest.param("darknet19", marks=pytest.mark.slow)])
def test_maps_and_logits_agree_in_double_precision(arch, randomize):
    ours, theirs = pair(arch, randomize)
    for net in (ours, theirs):
        net.double().eval()
    x = torch.randn(2, 3, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-9, rtol=1e-9)
        _, stages = theirs.forward_intermediates(x)
        for mine, other in zip(ours.forward_features(x)[-4:], stages[-4:], strict=True):
            torch.testing.assert_close(mine, other, atol=1e-9, rtol=1e-9)


@pytest.mark.slow
def test_gradients_in_training_are_those_of_timms_parts(randomize, assert_same_gradients):
    ours, theirs = pair("darknet19", randomize)
    assert_same_gradients(ours, theirs)


@pytest.mark.parametrize("arch", ALL)
def test_parameters_without_classifier_are_those_of_the_published_table(arch):
    with torch.device("meta"):
        net = Darknet(arch, num_classes=1)
    count = sum(each.numel() for each in net.parameters()) - sum(each.numel() for each in net.fc.parameters())
    assert f"{count / 1e6:.2f}" == PLANS[arch][3]


def test_multiply_adds_are_those_of_timms_parts():
    a, b = (summarize(net, (64, 64), torch.device("cpu")) for net in (Darknet("darknet_yolov5n", num_classes=7), twin("darknet_yolov5n")))
    assert a.product_multiply_adds == b.product_multiply_adds
    assert a.parameters == b.parameters


def yolov5_state(depths: tuple[int, ...], widths: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """A state dict as YOLOv5 writes it: backbone, spatial pyramid, and a layer of its neck."""
    state = {}

    def conv(name: str, channels: int, out: int, kernel: int) -> None:
        state[f"{name}.conv.weight"] = torch.randn(out, channels, kernel, kernel) / (channels * kernel**2) ** 0.5
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.bn.{part}"] = torch.rand(out) + 0.5

    conv("model.0", 3, widths[0] // 2, 6)
    for index, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        conv(f"model.{2 * index + 1}", width // 2, width, 3)
        block = f"model.{2 * index + 2}"
        for part in ("cv1", "cv2"):
            conv(f"{block}.{part}", width, width // 2, 1)
        conv(f"{block}.cv3", width, width, 1)
        for number in range(depth):
            conv(f"{block}.m.{number}.cv1", width // 2, width // 2, 1)
            conv(f"{block}.m.{number}.cv2", width // 2, width // 2, 3)
    conv("model.9.cv1", widths[-1], widths[-1] // 2, 1)
    conv("model.10", widths[-1], widths[-1] // 2, 1)
    return state


def yolov5_maps(state: dict[str, torch.Tensor], x: torch.Tensor, depths: tuple[int, ...]) -> torch.Tensor:
    """The last map of YOLOv5's backbone, from its plan: C3 is cv3(join(m(cv1(x)), cv2(x)))."""

    def unit(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        weight = state[f"{name}.conv.weight"]
        padding = 2 if weight.shape[-1] == 6 else weight.shape[-1] // 2
        x = torch.nn.functional.conv2d(x, weight, stride=stride, padding=padding)
        mean, var, scale, shift = (state[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return torch.nn.functional.batch_norm(x, mean, var, scale, shift).relu()

    x = unit("model.0", x, 2)
    for index, depth in enumerate(depths):
        x = unit(f"model.{2 * index + 1}", x, 2)
        block = f"model.{2 * index + 2}"
        worked = unit(f"{block}.cv1", x)
        for number in range(depth):
            worked = worked + unit(f"{block}.m.{number}.cv2", unit(f"{block}.m.{number}.cv1", worked))
        x = unit(f"{block}.cv3", torch.cat([worked, unit(f"{block}.cv2", x)], 1))
    return x


def test_weights_with_the_names_of_yolov5_load_by_themselves_and_compute_what_they_do_there():
    torch.manual_seed(0)
    _, depths, widths, _ = PLANS["darknet_yolov5n"]
    state = yolov5_state(depths, widths)
    net = build_model("darknet_yolov5n", num_classes=3).eval()
    report = load_state(net, state, source="yolov5n.pt")
    assert report.missing == ("fc.weight", "fc.bias")
    assert report.unexpected == ()
    x = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(net.forward_features(x)[-1], yolov5_maps(state, x, depths))


def test_renaming_to_yolov5_and_back_returns_every_tensor_of_the_backbone():
    net = Darknet("darknet_yolov5m", num_classes=2)
    state = net.state_dict()
    there = to_yolov5(state)
    assert all(name.startswith("model.") and int(name.split(".")[1]) <= 8 for name in there)
    assert "model.4.m.3.cv2.bn.running_var" in there
    back = from_yolov5(there)
    assert set(back) == {name for name in state if not name.startswith("fc.")}
    assert all(torch.equal(back[name], state[name]) for name in back)


def test_older_names_of_the_published_files_are_known():
    net = Darknet("darknet_yolov5n", num_classes=2)
    old = {name.replace(".norm.", ".bn."): tensor for name, tensor in net.state_dict().items()}
    assert set(net.remap(old)) == set(net.state_dict())


def test_published_weights_take_pixels_from_0_to_1():
    assert all(each.mean == (0, 0, 0) and each.std == (1, 1, 1) for each in PUBLISHED.values())
