"""Detectors that look through an encoder; the anchor-free head of YOLOX on any of them, and any neck."""

from abc import abstractmethod

from torch import Tensor, nn

from models.detectors.anchor_free import AnchorFreeHead
from models.detectors.detector import Detector, DetectorOutput
from models.necks import build_neck
from models.necks.neck import Neck
from models.segmenters.encoder import Encoder
from models.segmenters.encoder_network import EncoderNetwork, MapReader
from utils.errors import UserError
from utils.spec import SpecSource


class MapDecoder(MapReader):
    """Maps (N, C, h, w) of an encoder, the largest first -> `DetectorOutput`."""

    @abstractmethod
    def forward(self, maps: list[Tensor]) -> DetectorOutput:
        """Return what the network says."""


class NeckAndHead(MapDecoder):
    """A neck, and the anchor-free head on its maps."""

    def __init__(self, neck: Neck, head: AnchorFreeHead) -> None:
        super().__init__()
        self.neck = neck
        self.head = head

    def forward(self, maps: list[Tensor]) -> DetectorOutput:
        return self.head(self.neck(maps))

    def classifiers(self) -> list[nn.Conv2d]:
        return self.head.classifiers()


class EncoderDetector(EncoderNetwork, Detector):
    """Images (N, 3, H, W) of any size that the encoder takes."""

    decoder: MapDecoder

    def predict(self, x: Tensor) -> DetectorOutput:
        return self.decoder(self.encoder(x))


def yolox(
    arch: str, *, num_classes: int, encoder: Encoder, neck: SpecSource, width: float = 0.5, depthwise: bool = False
) -> EncoderDetector:
    """Build the anchor-free detector on an encoder.

    Args:
        arch: what the user calls it.
        num_classes: classes of an object.
        encoder: with maps of strides 8, 16 and 32.
        neck: of these maps, see `build_neck`.
        width: the layers of the head have 256 x width channels.
        depthwise: whether its 3x3 convolutions are separable.

    Raises:
        UserError: a width that is none, or a neck that cannot be built.
    """
    if not 0 < width <= 4:
        raise UserError(f"--arch '{arch}': width {width} must be a number above 0, up to 4; 0.5 is usual")
    joined = build_neck(neck, encoder.info)
    head = AnchorFreeHead(joined.feature_info, num_classes=num_classes, channels=int(256 * width), depthwise=depthwise)
    return EncoderDetector(encoder, NeckAndHead(joined, head), arch=arch, num_classes=num_classes)
