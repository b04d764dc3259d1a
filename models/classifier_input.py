"""What the classifier of a network reads, kept without a second forward pass."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from models.backbone import Backbone


@contextmanager
def classifier_inputs(model: Backbone) -> Iterator[list[Tensor]]:
    """Give a list to which every forward pass inside the block adds what the classifier is given, (N, D) or a map, detached.

    Raises:
        UserError: the network has no classifier that it could name.
    """
    read: list[Tensor] = []
    handle = model.get_classifier().register_forward_pre_hook(lambda _, given: read.append(given[0].detach()))
    try:
        yield read
    finally:
        handle.remove()


def as_vectors(features: Tensor) -> Tensor:
    """Return one vector an image, float32 (N, D): of a map its mean over the pixels."""
    features = features.float()
    return features.flatten(2).mean(2) if features.ndim > 2 else features
