"""YOLOX (Ge et al.: YOLOX: Exceeding YOLO Series in 2021, arXiv 2107.08430), under the names of its published weights."""

from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn

from models.detectors.anchor_free import AnchorFreeHead
from models.detectors.csp_darknet import PathAggregation
from models.detectors.detector import Detector, DetectorOutput
from models.detectors.folded_batchnorm import named_by_order
from models.published import Published

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
        return self.head.classifiers()[0]

    def classifiers(self) -> list[nn.Linear | nn.Conv2d]:
        return [*self.head.classifiers()]

    def get_head(self) -> AnchorFreeHead:
        return self.head

    def published_part(self, arch: str) -> "tuple[YOLOX, str]":
        return self, arch

    def remap(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take published weights to this network, which sees RGB pixels: there, blue, green and red of 2x2 pixels are channels.

        Of an ONNX file, convolutions are known by their order.
        """
        found = named_by_order(self, state) if STEM not in state and "head.cls_preds.0.weight" in state else dict(state)
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

_URL = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/"


def _published(size: str, side: int, ap: float) -> Published:
    # They were trained on pixels from 0 to 255, without normalization.
    one = 1 / 255
    return Published(
        f"{_URL}yolox_{size}.pth", mean=(0.0, 0.0, 0.0), std=(one, one, one), size=(side, side), license="Apache-2.0", coco_ap=ap
    )


PUBLISHED: dict[str, Published] = {
    "yolox_nano": _published("nano", 416, 25.8),
    "yolox_tiny": _published("tiny", 416, 32.8),
    "yolox_s": _published("s", 640, 40.5),
    "yolox_m": _published("m", 640, 46.9),
    "yolox_l": _published("l", 640, 49.7),
    "yolox_x": _published("x", 640, 51.1),
}
