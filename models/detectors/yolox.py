"""YOLOX (Ge et al.: YOLOX: Exceeding YOLO Series in 2021, arXiv 2107.08430), under the names of its published weights."""

from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn

from models.detectors.anchor_free import AnchorFreeHead
from models.detectors.csp_darknet import PathAggregation
from models.detectors.detector import Detector, DetectorOutput

# Where the first convolution lies.
STEM = "backbone.backbone.stem.conv.conv.weight"


class YOLOX(Detector):
    """Images (N, 3, H, W), RGB, H and W multiples of 32.

    Args:
        arch: what the user calls it.
        num_classes: classes of an object.
        depth, width: factors of blocks a stage and of channels.
        depthwise: whether its 3x3 convolutions are separable.
    """

    multiple = 32

    def __init__(self, arch: str, *, num_classes: int, depth: float, width: float, depthwise: bool = False) -> None:
        super().__init__()
        self.arch = arch
        self.num_classes = num_classes
        self.backbone = PathAggregation(depth, width, depthwise=depthwise)
        self.head = AnchorFreeHead(self.backbone.info, num_classes=num_classes, channels=int(256 * width), depthwise=depthwise)

    def predict(self, x: Tensor) -> DetectorOutput:
        return self.head(self.backbone(x))

    def get_classifier(self) -> nn.Conv2d:
        classifier = self.head.cls_preds[0]
        assert isinstance(classifier, nn.Conv2d)
        return classifier

    def classifiers(self) -> list[nn.Linear | nn.Conv2d]:
        return [each for each in self.head.cls_preds if isinstance(each, nn.Conv2d)]

    def get_head(self) -> AnchorFreeHead:
        return self.head

    def published_part(self, arch: str) -> "tuple[YOLOX, str]":
        return self, arch

    def remap(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take the first convolution of published weights, which sees blue, green and red of 2x2 pixels as channels, to RGB pixels."""
        found = dict(state)
        if STEM in found and found[STEM].shape[1:] == (12, 3, 3):
            found[STEM] = stem_of_pixels(found[STEM])
        return found


def stem_of_pixels(weight: Tensor) -> Tensor:
    """Return the weights (out, 3, 6, 6) for pixels in RGB of those, (out, 12, 3, 3), for 2x2 pixels as channels in BGR.

    The channels are those of the upper left pixels, then lower left, upper right and lower right.
    """
    out = weight.shape[0]
    # out, column, row, color, y, x -> out, color, y, row, x, column
    patches = weight.reshape(out, 2, 2, 3, 3, 3).permute(0, 3, 4, 2, 5, 1)
    return patches.reshape(out, 3, 6, 6).flip(1).contiguous()


yolox_nano = partial(YOLOX, depth=0.33, width=0.25, depthwise=True)
yolox_tiny = partial(YOLOX, depth=0.33, width=0.375)
yolox_s = partial(YOLOX, depth=0.33, width=0.5)
yolox_m = partial(YOLOX, depth=0.67, width=0.75)
yolox_l = partial(YOLOX, depth=1.0, width=1.0)
yolox_x = partial(YOLOX, depth=1.33, width=1.25)
