"""Layers that become another class in place, with the weights and the names that they have, in copies and pickles, too."""

from functools import cache
from typing import Any

from torch import nn


def change(layer: nn.Module, trait: type[nn.Module]) -> None:
    """Let a layer be of a class of the same name, whose first base is `trait` and whose second is the class that it had."""
    # Another forward in the instance would be shared by its copies.
    layer.__class__ = changed_class(type(layer), trait)


# One for each kind of layer, so that layers of one kind remain so.
@cache
def changed_class(kind: type[nn.Module], trait: type[nn.Module]) -> type[nn.Module]:
    """Return the class that `change` gives a layer of this kind."""
    # Where it comes from tells torch.fx which layers it need not look into.
    return type(kind.__name__, (trait, kind), {"__module__": kind.__module__, "__reduce__": _reduced})


def _reduced(layer: nn.Module) -> tuple[Any, ...]:
    """Return how a copy is made: by its name, pickle would find the class that the layer had at first."""
    kind, traits = type(layer), []
    while vars(kind).get("__reduce__") is _reduced:
        trait, kind = kind.__bases__
        traits.append(trait)
    return _empty, (kind, *reversed(traits)), layer.__getstate__()


def _empty(kind: type[nn.Module], *traits: type[nn.Module]) -> nn.Module:
    for trait in traits:
        kind = changed_class(kind, trait)
    return kind.__new__(kind)
