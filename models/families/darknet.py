"""Darknet-19 (YOLOv2, arXiv 1612.08242), Darknet-53 (YOLOv3, arXiv 1804.02767), CSPDarknet-53 (CSPNet, arXiv 1911.11929), and
the backbones of YOLOv5 n, s, m, l and x.

They are the networks of vision-toolbox, whose weights they take, and differ from the originals as those do: ReLU throughout,
batch norm with torch's own eps and momentum; Darknet-19 halves the map by convolutions and has shortcuts; CSPDarknet-53 halves
its width in the first stage, too; YOLOv5's backbone ends before its spatial pyramid. Weights of YOLOv5's own names load through
`remap`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.layers.conv_norm_act import ConvNormAct
from models.layers.pooled_classifier import PooledClassifier
from models.layers.stochastic_depth import StochasticDepth, set_rates
from models.published import Published


@dataclass(frozen=True)
class DarknetArch:
    """Blocks a stage, their widths, cross-stage connections or not, and the stem.

    Attributes:
        patch_stem: the stem is a 6x6 convolution of stride 2 and the first map, as in YOLOv5; else a 3x3 one of stride 1.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stem: int = 32
    csp: bool = False
    patch_stem: bool = False


def _yolov5(depth: float, width: float) -> DarknetArch:
    depths = tuple(round(blocks * depth) for blocks in (3, 6, 9, 3))
    widths = tuple(round(channels * width) for channels in (128, 256, 512, 1024))
    return DarknetArch(depths, widths, stem=round(64 * width), csp=True, patch_stem=True)


_WIDTHS = (64, 128, 256, 512, 1024)

VARIANTS: dict[str, DarknetArch] = {
    "darknet19": DarknetArch((0, 1, 1, 2, 2), _WIDTHS),
    "darknet53": DarknetArch((1, 2, 8, 8, 4), _WIDTHS),
    "cspdarknet53": DarknetArch((1, 2, 8, 8, 4), _WIDTHS, csp=True),
    "darknet_yolov5n": _yolov5(1 / 3, 1 / 4),
    "darknet_yolov5s": _yolov5(1 / 3, 1 / 2),
    "darknet_yolov5m": _yolov5(2 / 3, 3 / 4),
    "darknet_yolov5l": _yolov5(1, 1),
    "darknet_yolov5x": _yolov5(4 / 3, 5 / 4),
}


class Residual(nn.Module):
    """A 1x1 and a 3x3 convolution and a shortcut."""

    def __init__(self, channels: int, mid: int) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(channels, mid, 1)
        self.conv2 = ConvNormAct(mid, channels)
        self.depth = StochasticDepth(0.0)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.depth(self.conv2(self.conv1(x)))


class PlainStage(nn.Module):
    """A 3x3 convolution of stride 2, then residual blocks."""

    def __init__(self, channels: int, out: int, depth: int) -> None:
        super().__init__()
        self.conv = ConvNormAct(channels, out, stride=2)
        self.blocks = nn.Sequential(*(Residual(out, out // 2) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.conv(x))


class CrossStage(nn.Module):
    """A 3x3 convolution of stride 2; one half of what follows takes the residual blocks, the other goes past them."""

    def __init__(self, channels: int, out: int, depth: int) -> None:
        super().__init__()
        half = out // 2
        self.conv = ConvNormAct(channels, out, stride=2)
        self.conv1 = ConvNormAct(out, half, 1)
        self.conv2 = ConvNormAct(out, half, 1)
        self.blocks = nn.Sequential(*(Residual(half, half) for _ in range(depth)))
        self.out_conv = ConvNormAct(out, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.out_conv(torch.cat([self.conv1(x), self.blocks(self.conv2(x))], dim=1))


class Darknet(PooledClassifier):
    """A variant of the table. Maps: the ends of the stages, at strides 2 to 32; the first is the stem where that halves the map."""

    def __init__(self, arch: str, *, num_classes: int, drop_rate: float | None = None) -> None:
        super().__init__()
        self.arch = VARIANTS[arch]
        stem, widths = self.arch.stem, self.arch.widths
        self.stem = ConvNormAct(3, stem, 6, stride=2) if self.arch.patch_stem else ConvNormAct(3, stem)
        inputs = (stem, *widths)
        self.stages = nn.ModuleList(
            self._stage(channels, out, depth) for channels, out, depth in zip(inputs, widths, self.arch.depths, strict=False)
        )
        self.add_head(widths[-1], num_classes=num_classes, drop_rate=drop_rate or 0.0)

    def _stage(self, channels: int, out: int, depth: int) -> nn.Module:
        if depth == 0:
            return ConvNormAct(channels, out, stride=2)
        return CrossStage(channels, out, depth) if self.arch.csp else PlainStage(channels, out, depth)

    @property
    def feature_info(self) -> list[FeatureInfo]:
        widths = (self.arch.stem, *self.arch.widths) if self.arch.patch_stem else self.arch.widths
        return [FeatureInfo(width, 2 ** (i + 1)) for i, width in enumerate(widths)]

    def forward_features(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        maps = [x] if self.arch.patch_stem else []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def set_drop_path(self, rate: float) -> None:
        """Skip branches: not the first block's, the last one's with `rate`."""
        branches = [block.depth for block in self.modules() if isinstance(block, Residual)]
        set_rates(branches, rate, parts=len(branches) - 1)

    def remap(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take YOLOv5's names, or the older ones of vision-toolbox, to this network's."""
        if self.arch.patch_stem and "model.0.conv.weight" in state:
            return from_yolov5(state)
        return {name.replace(".bn.", ".norm."): tensor for name, tensor in state.items()}


# Parts of a cross-stage block: the name here -> YOLOv5's. There the first convolution is the one whose half is worked on.
_YOLOV5_PARTS = {"conv1": "cv2", "conv2": "cv1", "out_conv": "cv3"}
_OWN_PARTS = {theirs: ours for ours, theirs in _YOLOV5_PARTS.items()}
# The layers of YOLOv5's model that are this backbone: a stem, then a convolution and a cross-stage block for each stage.
YOLOV5_LAYERS = 9


def from_yolov5(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the backbone of a YOLOv5 state dict; its spatial pyramid, neck and detection head are left out.

    YOLOv5's own releases were trained with SiLU and a batch-norm eps of 0.001: they are a start for training here, not the same
    function.
    """
    return {own: _joined(own, tensor) for name, tensor in state.items() if (own := _own_name(name)) is not None}


def to_yolov5(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a YOLOv5 backbone of this file to the names of YOLOv5, up to 'model.8'; the classifier is left out."""
    return {theirs: _joined(name, tensor) for name, tensor in state.items() if (theirs := _yolov5_name(name)) is not None}


def _joined(name: str, tensor: Tensor) -> Tensor:
    """Exchange the halves of the inputs of the convolution after a cross-stage: YOLOv5 joins the two the other way around."""
    return tensor.roll(tensor.shape[1] // 2, dims=1) if name.endswith(".out_conv.conv.weight") else tensor


def _own_name(name: str) -> str | None:
    """'model.2.m.0.cv1.conv.weight' -> 'stages.0.blocks.0.conv1.conv.weight'; None for what is not of the backbone."""
    model, number, *rest = name.split(".")
    if model != "model" or not number.isdigit() or int(number) >= YOLOV5_LAYERS:
        return None
    rest = ["norm" if part == "bn" else part for part in rest]
    layer = int(number)
    if layer == 0:
        return ".".join(["stem", *rest])
    stage = ["stages", str((layer - 1) // 2)]
    if layer % 2:
        return ".".join([*stage, "conv", *rest])
    if rest[0] == "m":
        return ".".join([*stage, "blocks", rest[1], rest[2].replace("cv", "conv"), *rest[3:]])
    return ".".join([*stage, _OWN_PARTS[rest[0]], *rest[1:]])


def _yolov5_name(name: str) -> str | None:
    """The way back; None for the classifier."""
    parts = ["bn" if part == "norm" else part for part in name.split(".")]
    if parts[0] == "stem":
        return ".".join(["model", "0", *parts[1:]])
    if parts[0] != "stages":
        return None
    stage, part, rest = int(parts[1]), parts[2], parts[3:]
    if part == "conv":
        return ".".join(["model", str(2 * stage + 1), *rest])
    block = ["model", str(2 * stage + 2)]
    if part == "blocks":
        return ".".join([*block, "m", rest[0], rest[1].replace("conv", "cv"), *rest[2:]])
    return ".".join([*block, _YOLOV5_PARTS[part], *rest])


_URL = "https://github.com/gau-nernst/vision-toolbox/releases/download/v0.0.1/"


def _published(file: str, top1: float) -> Published:
    # They were trained on pixels from 0 to 1, without normalization; their publisher names no license.
    return Published(_URL + file, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), top1=top1)


PUBLISHED: dict[str, Published] = {
    "darknet19": _published("darknet19-2cb641ca.pth", 73.5),
    "darknet53": _published("darknet53-94427f5b.pth", 76.9),
    "cspdarknet53": _published("cspdarknet53-3bfa0423.pth", 77.5),
    "darknet_yolov5n": _published("darknet_yolov5n-68f182f1.pth", 56.3),
    "darknet_yolov5s": _published("darknet_yolov5s-175f7462.pth", 67.3),
    "darknet_yolov5m": _published("darknet_yolov5m-9866aa40.pth", 73.8),
    "darknet_yolov5l": _published("darknet_yolov5l-8e25d388.pth", 76.9),
    "darknet_yolov5x": _published("darknet_yolov5x-0ed0c035.pth", 78.6),
}
