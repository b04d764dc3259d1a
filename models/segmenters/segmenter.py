"""An encoder and a decoder as one network, which gives every pixel of an image its logits."""

from typing import NamedTuple

from torch import Tensor

from models.image_trial import answer_to_black
from models.segmenters.decoder import Decoder, resize, size_of
from models.segmenters.encoder_network import EncoderNetwork

# How much the loss of the auxiliary logits counts (arXiv 1612.01105, section 5.1).
AUXILIARY_WEIGHT = 0.4


class SegmenterOutput(NamedTuple):
    """What a network with an auxiliary head answers in training, both (N, C, H, W); the loss of the second counts AUXILIARY_WEIGHT."""

    logits: Tensor
    auxiliary: Tensor


class Segmenter(EncoderNetwork):
    """Images (N, 3, H, W), normalized, of any H and W from 32 on -> logits (N, C, H, W).

    In training, a network with an auxiliary head answers `SegmenterOutput`.
    """

    decoder: Decoder

    def forward(self, x: Tensor) -> Tensor | SegmenterOutput:
        size = size_of(x)
        maps = self.encoder(x)
        logits = resize(self.decoder(maps, size), size)
        if self.training and self.decoder.auxiliary is not None:
            return SegmenterOutput(logits, resize(self.decoder.auxiliary(maps[-2]), size))
        return logits

    def check_size(self, image_size: tuple[int, int]) -> None:
        """Try one black image of this (height, width), in evaluation mode.

        Raises:
            UserError: the network does not take it.
        """
        answer_to_black(self, image_size, name=f"{self.arch} on {self.encoder.name}")
