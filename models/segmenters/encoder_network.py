"""What networks for pixels and for boxes share: an encoder, which may start from published weights, and a head that is new to the task."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from models.backbone import Backbone, Network
from models.segmenters.encoder import Encoder

# Beginning of the names of the encoder's tensors.
ENCODER = "encoder.backbone."


class MapReader(nn.Module, ABC):
    """What is new to a task: it reads the maps of an encoder."""

    @abstractmethod
    def classifiers(self) -> list[nn.Conv2d]:
        """Return every layer whose outputs are logits, or a summand of them; first the one that answers in evaluation."""


class EncoderNetwork(Network):
    """A network that looks through an encoder.

    Args:
        encoder: with the maps that are read.
        decoder: reads them.
        arch: what the user calls it.
        num_classes: C.
    """

    def __init__(self, encoder: Encoder, decoder: MapReader, *, arch: str, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.arch = arch
        self.num_classes = num_classes

    def get_classifier(self) -> nn.Conv2d:
        return self.decoder.classifiers()[0]

    def classifiers(self) -> list[nn.Linear | nn.Conv2d]:
        return [*self.decoder.classifiers()]

    def get_head(self) -> MapReader:
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


def is_encoder_alone(state: Any) -> bool:
    """Whether the tensors of a file are those of an encoder, rather than of a network that is built on one."""
    tensors = state.get("state_dict", state) if isinstance(state, Mapping) else {}
    return not any(str(name).startswith(ENCODER) for name in tensors)
