"""An encoder and a decoder as one network, which gives every pixel of an image its logits."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.backbone import Backbone, Network
from models.modules import evaluating
from models.segmenters.decoder import Decoder, resize, size_of
from models.segmenters.encoder import ENCODER, Encoder, is_encoder_alone
from utils.errors import UserError
from utils.networks.first_conv import input_channels

# How much the loss of the auxiliary logits counts (arXiv 1612.01105, section 5.1).
AUXILIARY_WEIGHT = 0.4


class SegmenterOutput(NamedTuple):
    """What a network with an auxiliary head answers in training, both (N, C, H, W); the loss of the second counts AUXILIARY_WEIGHT."""

    logits: Tensor
    auxiliary: Tensor


class Segmenter(Network):
    """Images (N, 3, H, W), normalized, of any H and W from 32 on -> logits (N, C, H, W).

    In training, a network with an auxiliary head answers `SegmenterOutput`.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder, *, arch: str, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.arch = arch
        self.num_classes = num_classes

    def forward(self, x: Tensor) -> Tensor | SegmenterOutput:
        size = size_of(x)
        maps = self.encoder(x)
        logits = resize(self.decoder(maps, size), size)
        if self.training and self.decoder.auxiliary is not None:
            return SegmenterOutput(logits, resize(self.decoder.auxiliary(maps[-2]), size))
        return logits

    def get_classifier(self) -> torch.nn.Conv2d:
        return self.decoder.classifier

    def classifiers(self) -> list[torch.nn.Linear | torch.nn.Conv2d]:
        return [*self.decoder.classifiers()]

    def get_head(self) -> Decoder:
        return self.decoder

    def published_part(self, arch: str) -> tuple[Backbone, str]:
        del arch
        return self.encoder.backbone, self.encoder.name

    def filled_by(self, state: Any) -> Network:
        return self.encoder.backbone if is_encoder_alone(state) else self

    def check_size(self, image_size: tuple[int, int]) -> None:
        """Try one black image of this (height, width), in evaluation mode.

        Raises:
            UserError: the network does not take it.
        """
        weight = self.get_classifier().weight
        try:
            with evaluating(self), torch.no_grad():
                self(torch.zeros(1, input_channels(self.encoder), *image_size, device=weight.device, dtype=weight.dtype))
        except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            name = f"{self.arch} on {self.encoder.name}"
            raise UserError(f"{name} does not take images of {image_size[0]} x {image_size[1]} pixels ({reason})") from error

    def no_weight_decay(self) -> frozenset[str]:
        return frozenset(ENCODER + name if not name.startswith("*") else name for name in self.encoder.backbone.no_weight_decay())

    def remap(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Translate names inside the encoder."""
        inside = {name.removeprefix(ENCODER): tensor for name, tensor in state.items() if name.startswith(ENCODER)}
        renamed = {ENCODER + name: tensor for name, tensor in self.encoder.backbone.remap(inside).items()}
        return {**renamed, **{name: tensor for name, tensor in state.items() if not name.startswith(ENCODER)}}
