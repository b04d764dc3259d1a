"""SEGMENTERS: networks that give every pixel a class: an encoder, and a decoder a file."""

from collections.abc import Mapping
from types import MappingProxyType

from utils.registry import Row, Table

# Decoder classes, which `build_segmenter` puts on any encoder.
SEGMENTERS = Table(
    "segmenter",
    {
        "unet": Row("models.segmenters.unet:UNet", "back up in steps, with every map of the encoder: fine outlines (arXiv 1505.04597)"),
        "unetplusplus": Row(
            "models.segmenters.unetplusplus:UNetPlusPlus", "U-Nets of every depth within one another: finer, slower (arXiv 1807.10165)"
        ),
        "fpn": Row("models.segmenters.fpn:FPNDecoder", "a feature pyramid, its maps side by side (arXiv 1612.03144)"),
        "semantic_fpn": Row(
            "models.segmenters.semantic_fpn:SemanticFPNDecoder", "a feature pyramid, added up step by step (arXiv 1901.02446)"
        ),
        "pspnet": Row(
            "models.segmenters.pspnet:PSPNet", "means over the image and its parts beside a dilated encoder's map (arXiv 1612.01105)"
        ),
        "deeplabv3": Row(
            "models.segmenters.deeplabv3:DeepLabV3", "a dilated encoder's map seen at several rates at once (arXiv 1706.05587)"
        ),
        "deeplabv3plus": Row(
            "models.segmenters.deeplabv3plus:DeepLabV3Plus", "the same, lighter, with outlines from stride 4 (arXiv 1802.02611)"
        ),
        "lraspp": Row("models.segmenters.lraspp:LiteRASPP", "one gate and two classifiers, for small devices (arXiv 1905.02244)"),
        "segformer": Row("models.segmenters.segformer:SegFormerHead", "linear layers on maps of four strides (arXiv 2105.15203)"),
    },
)
# The encoder of a segmenter unless another is named.
ENCODER = "resnet18"
ENCODERS: Mapping[str, str] = MappingProxyType(dict.fromkeys(SEGMENTERS, ENCODER))
