"""YOLOv3 (Redmon and Farhadi: YOLOv3: An Incremental Improvement, arXiv 1804.02767): three anchors at every place of three maps."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.detectors.anchor_free import MAX_LOG
from models.detectors.detector import DetectorOutput, corners_of, grid, start_rare
from models.detectors.encoder_detector import EncoderDetector, MapDecoder
from models.detectors.yolox_blocks import POOLS
from models.layers.conv_norm_act import ConvNormAct
from models.necks.neck import enlarged
from models.segmenters.encoder import Encoder

# Anchors of a place.
EACH = 3
# Widths of the layers before the maps of strides 8, 16 and 32.
WIDTHS = (128, 256, 512)


def leaky() -> nn.Module:
    return nn.LeakyReLU(0.1, inplace=True)


class Level(nn.Module):
    """Five convolutions of the maps so far, and what a place of this map says.

    Args:
        channels: that enter.
        width: of its layers.
        num_classes: classes of an object.
        pools: whether the map is also seen through max pools, between its convolutions.
    """

    def __init__(self, channels: int, width: int, *, num_classes: int, pools: bool) -> None:
        super().__init__()
        self.before = nn.Sequential(
            ConvNormAct(channels, width, 1, act=leaky),
            ConvNormAct(width, 2 * width, act=leaky),
            ConvNormAct(2 * width, width, 1, act=leaky),
        )
        self.pools = ConvNormAct((len(POOLS) + 1) * width, width, 1, act=leaky) if pools else None
        self.after = nn.Sequential(ConvNormAct(width, 2 * width, act=leaky), ConvNormAct(2 * width, width, 1, act=leaky))
        self.last = ConvNormAct(width, 2 * width, act=leaky)
        self.box_pred = nn.Conv2d(2 * width, EACH * 4, 1)
        self.obj_pred = nn.Conv2d(2 * width, EACH, 1)
        self.cls_pred = nn.Conv2d(2 * width, EACH * num_classes, 1)
        start_rare(self.obj_pred)
        start_rare(self.cls_pred)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the map for the next level, and boxes, objectness and classes (N, 3 * h * w, k)."""
        x = self.before(x)
        if self.pools is not None:
            x = self.pools(torch.cat([x, *(F.max_pool2d(x, side, 1, side // 2) for side in POOLS)], dim=1))
        x = self.after(x)
        y = self.last(x)
        return x, [_places(layer(y)) for layer in (self.box_pred, self.obj_pred, self.cls_pred)]


class YoloV3Decoder(MapDecoder):
    """Maps of strides 8, 16 and 32 -> `DetectorOutput`; the coarsest comes first, and is joined to the next finer one.

    Args:
        info: the maps.
        num_classes: classes of an object.
        anchors: width and height in pixels (9, 2), the smallest first.
        pools: whether the coarsest map is also seen through max pools.
    """

    anchors: Tensor

    def __init__(self, info: Sequence[FeatureInfo], *, num_classes: int, anchors: np.ndarray, pools: bool) -> None:
        super().__init__()
        self.strides = [each.stride for each in info]
        joined = [each.channels + width for each, width in zip(info, WIDTHS, strict=True)]
        joined[-1] = info[-1].channels
        levels = [
            Level(channels, width, num_classes=num_classes, pools=pools and position == len(info) - 1)
            for position, (channels, width) in enumerate(zip(joined, WIDTHS, strict=True))
        ]
        self.levels = nn.ModuleList(levels)
        self.laterals = nn.ModuleList(ConvNormAct(2 * width, width, 1, act=leaky) for width in WIDTHS[:-1])
        self.register_buffer("anchors", torch.from_numpy(np.asarray(anchors)).float())

    def forward(self, maps: list[Tensor]) -> DetectorOutput:
        said: list[list[Tensor]] = []
        x = maps[-1]
        for level in range(len(maps) - 1, -1, -1):
            if level < len(maps) - 1:
                x = torch.cat((enlarged(self.laterals[level](x), maps[level]), maps[level]), dim=1)
            x, answers = self.levels[level](x)
            said.insert(0, answers)
        boxes, objectness, classes = (torch.cat(parts, dim=1).float() for parts in zip(*said, strict=True))
        return self._decoded(maps, boxes, objectness[..., 0], classes)

    def _decoded(self, maps: list[Tensor], offsets: Tensor, objectness: Tensor, classes: Tensor) -> DetectorOutput:
        points, strides, anchors = [], [], []
        for each, stride, own in zip(maps, self.strides, self.anchors.reshape(len(maps), EACH, 2), strict=True):
            middles, steps = grid([each], [stride])
            points.append(middles.repeat(EACH, 1))
            strides.append(steps.repeat(EACH))
            anchors.append(own.repeat_interleave(len(middles), dim=0))
        at, step, begin = torch.cat(points), torch.cat(strides), torch.cat(anchors)
        with torch.autocast(offsets.device.type, enabled=False):
            raw = torch.cat((offsets[..., :2].sigmoid(), offsets[..., 2:].clamp(max=MAX_LOG)), dim=2)
            boxes = corners_of(at + (raw[..., :2] - 0.5) * step[:, None], raw[..., 2:].exp() * begin)
        return DetectorOutput(boxes, objectness, classes, raw, at, step, begin)

    def classifiers(self) -> list[nn.Conv2d]:
        return [level.cls_pred for level in self.levels if isinstance(level, Level)]


def _places(x: Tensor) -> Tensor:
    """Return what three anchors say, (N, 3 * k, h, w), as (N, 3 * h * w, k)."""
    images, channels = x.shape[:2]
    return x.reshape(images, EACH, channels // EACH, -1).transpose(2, 3).flatten(1, 2)


def yolov3(arch: str, *, num_classes: int, encoder: Encoder, anchors: np.ndarray, pools: bool = False) -> EncoderDetector:
    """Build YOLOv3 on an encoder with maps of strides 8, 16 and 32."""
    decoder = YoloV3Decoder(encoder.info, num_classes=num_classes, anchors=anchors, pools=pools)
    return EncoderDetector(encoder, decoder, arch=arch, num_classes=num_classes)


def yolov3_spp(arch: str, *, num_classes: int, encoder: Encoder, anchors: np.ndarray) -> EncoderDetector:
    """Build the same with pools."""
    return yolov3(arch, num_classes=num_classes, encoder=encoder, anchors=anchors, pools=True)
