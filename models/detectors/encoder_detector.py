"""Detectors that look through an encoder; the anchor-free head of YOLOX on any of them, and any neck."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from models.backbone import Backbone, Network
from models.detectors.anchor_free import AnchorFreeHead
from models.detectors.detector import Detector, DetectorOutput
from models.necks import build_neck
from models.necks.neck import Neck
from models.segmenters.encoder import ENCODER, Encoder, is_encoder_alone
from utils.errors import UserError
from utils.spec import SpecSource


class MapDecoder(nn.Module, ABC):
    """What is new to a task: maps (N, C, h, w) of an encoder, the largest first -> `DetectorOutput`."""

    @abstractmethod
    def forward(self, maps: list[Tensor]) -> DetectorOutput:
        """Return what the network says."""

    @abstractmethod
    def classifiers(self) -> list[nn.Conv2d]:
        """Return the layers whose outputs are the logits of classes."""


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


class EncoderDetector(Detector):
    """Images (N, 3, H, W) of any size that the encoder takes."""

    def __init__(self, encoder: Encoder, decoder: MapDecoder, *, arch: str, num_classes: int) -> None:
        super().__init__()
        self.arch = arch
        self.num_classes = num_classes
        self.encoder = encoder
        self.decoder = decoder

    def predict(self, x: Tensor) -> DetectorOutput:
        return self.decoder(self.encoder(x))

    def get_classifier(self) -> nn.Conv2d:
        return self.decoder.classifiers()[0]

    def classifiers(self) -> list[nn.Linear | nn.Conv2d]:
        return [*self.decoder.classifiers()]

    def get_head(self) -> MapDecoder:
        return self.decoder

    def published_part(self, arch: str) -> tuple[Backbone, str]:
        del arch
        return self.encoder.backbone, self.encoder.name

    def filled_by(self, state: Any) -> Network:
        return self.encoder.backbone if is_encoder_alone(state) else self

    def no_weight_decay(self) -> frozenset[str]:
        return frozenset(ENCODER + name if not name.startswith("*") else name for name in self.encoder.backbone.no_weight_decay())

    def remap(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Translate names inside the encoder."""
        inside = {name.removeprefix(ENCODER): tensor for name, tensor in state.items() if name.startswith(ENCODER)}
        renamed = {ENCODER + name: tensor for name, tensor in self.encoder.backbone.remap(inside).items()}
        return {**renamed, **{name: tensor for name, tensor in state.items() if not name.startswith(ENCODER)}}


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
