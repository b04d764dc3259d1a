"""The weights with which classifiers of several families begin."""

from torch import nn


def narrow_normal(layer: nn.Linear | nn.Conv2d) -> None:
    """Draw the weights from a normal of 0.01, and begin without bias."""
    assert layer.bias is not None
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
