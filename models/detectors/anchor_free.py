"""The head of YOLOX (arXiv 2107.08430): every place of a map says one box, whether an object is there, and of which class."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.detectors.detector import DetectorOutput, corners_of, grid, start_rare
from models.detectors.yolox_blocks import ConvUnit, conv_unit

# Larger logarithms of sizes than any image needs, which would overflow.
MAX_LOG = 12.0


class AnchorFreeHead(nn.Module):
    """Maps (N, C, h, w) -> `DetectorOutput`; classes and boxes are looked for apart.

    Args:
        info: the maps that enter.
        num_classes: classes of an object.
        channels: width of its layers.
        depthwise: whether its 3x3 convolutions are separable.
    """

    def __init__(self, info: Sequence[FeatureInfo], *, num_classes: int, channels: int, depthwise: bool) -> None:
        super().__init__()
        self.strides = [each.stride for each in info]

        def two_units() -> nn.Sequential:
            return nn.Sequential(*(conv_unit(channels, channels, 3, depthwise=depthwise) for _ in range(2)))

        self.stems = nn.ModuleList(ConvUnit(each.channels, channels, 1) for each in info)
        self.cls_convs = nn.ModuleList(two_units() for _ in info)
        self.reg_convs = nn.ModuleList(two_units() for _ in info)
        self.cls_preds = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for _ in info)
        self.reg_preds = nn.ModuleList(nn.Conv2d(channels, 4, 1) for _ in info)
        self.obj_preds = nn.ModuleList(nn.Conv2d(channels, 1, 1) for _ in info)
        for conv in (*self.cls_preds, *self.obj_preds):
            assert isinstance(conv, nn.Conv2d)
            start_rare(conv)

    def forward(self, maps: list[Tensor]) -> DetectorOutput:
        classes, raw, objectness = [], [], []
        for level, each in enumerate(maps):
            x = self.stems[level](each)
            classes.append(_places(self.cls_preds[level](self.cls_convs[level](x))))
            x = self.reg_convs[level](x)
            raw.append(_places(self.reg_preds[level](x)))
            objectness.append(_places(self.obj_preds[level](x)))
        points, strides = grid(maps, self.strides)
        offsets = torch.cat(raw, dim=1).float()
        with torch.autocast(offsets.device.type, enabled=False):
            # An offset of 0 is the upper left corner of the place, as published.
            middles = points + (offsets[..., :2] - 0.5) * strides[:, None]
            sizes = offsets[..., 2:].clamp(max=MAX_LOG).exp() * strides[:, None]
            boxes = corners_of(middles, sizes)
        return DetectorOutput(
            boxes=boxes,
            objectness=torch.cat(objectness, dim=1)[..., 0].float(),
            classes=torch.cat(classes, dim=1).float(),
            raw=offsets,
            points=points,
            strides=strides,
            anchors=None,
        )

    def classifiers(self) -> list[nn.Conv2d]:
        """Return the layers whose outputs are the logits of classes."""
        return [each for each in self.cls_preds if isinstance(each, nn.Conv2d)]


def _places(x: Tensor) -> Tensor:
    """Return a map (N, C, h, w) as (N, h * w, C)."""
    return x.flatten(2).transpose(1, 2)
