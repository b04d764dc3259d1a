"""The one way to build a segmenter: a decoder on the encoder that the user names."""

from models import build_model, find_adapter, find_family
from models.segmenters import ENCODER, SEGMENTERS
from models.segmenters.decoder import Decoder
from models.segmenters.encoder import Encoder
from models.segmenters.segmenter import Segmenter
from utils.errors import UserError


def build_segmenter(
    arch: str,
    *,
    num_classes: int,
    encoder: str | None = None,
    drop_rate: float | None = None,
    drop_path: float | None = None,
    output_stride: int | None = None,
) -> Segmenter:
    """Build the segmenter `arch` on an encoder, with fresh weights: images (N, 3, H, W) to logits (N, num_classes, H, W).

    Args:
        arch: a row of SEGMENTERS, or 'my_file.py:Class' of a Decoder of the user's own.
        num_classes: classes of a pixel, at least 1.
        encoder: what `build_model` takes; None for ENCODER.
        drop_rate: dropout before the classifier; None keeps the published rate.
        drop_path: of the encoder, as in `build_model`.
        output_stride: of the encoder's last map, for decoders that have the encoder dilated; None for the published one.

    Raises:
        UserError: an unknown name, an encoder without the maps that the decoder reads, or a value out of range.
    """
    if encoder in SEGMENTERS:
        raise UserError(f"--encoder {encoder} is a segmenter itself; name a classifier, such as {ENCODER}")
    if arch not in SEGMENTERS and (find_family(arch) is not None or find_adapter(arch) is not None):
        raise UserError(f"{arch} gives an image its class, not a pixel: write --arch unet --encoder {arch}; see --list segmenters")
    decoder, encoder = SEGMENTERS.resolve(arch), encoder or ENCODER
    if not (isinstance(decoder, type) and issubclass(decoder, Decoder)):
        raise UserError(f"--arch {arch}: a subclass of Decoder (models/segmenters/decoder.py) is wanted")
    if output_stride is not None and output_stride not in decoder.OUTPUT_STRIDES:
        known = f"takes {' or '.join(map(str, decoder.OUTPUT_STRIDES))}" if decoder.OUTPUT_STRIDES else "has no dilated encoder"
        raise UserError(f"--output_stride {output_stride}: {arch} {known}; leave the flag out")
    if output_stride is None and decoder.OUTPUT_STRIDES:
        output_stride = decoder.OUTPUT_STRIDES[0]
    if drop_rate is not None and not 0 <= drop_rate < 1:
        raise UserError(f"drop_rate is {drop_rate}; it is a probability from 0 up to, not including, 1")
    backbone = build_model(encoder, num_classes=1, drop_path=drop_path)
    body = Encoder(backbone, encoder, strides=decoder.STRIDES, stem=decoder.STEM, output_stride=output_stride)
    head = decoder(body.info, num_classes=num_classes, drop_rate=drop_rate, output_stride=output_stride)
    return Segmenter(body, head, arch=arch, num_classes=num_classes)
