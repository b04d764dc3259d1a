"""Which channels of a network go together, and what each of them costs; torch-pruning follows the layers."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from models.layers.channel_attention import EfficientChannelAttention
from models.layers.channel_correlations import ChannelCorrelations
from utils.errors import UserError
from utils.networks.first_conv import input_channels


@dataclass(frozen=True)
class Side:
    """The outputs or the inputs of a layer, as far as they belong to a group.

    Attributes:
        layer: a convolution, a linear layer or a batch norm.
        is_output: whether these are its outputs; a batch norm has no other side.
        positions: which of its channels, (P,).
        units: the unit that each of them belongs to, (P,).
    """

    layer: nn.Module
    is_output: bool
    positions: Tensor
    units: Tensor


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that one decision removes everywhere: writers, norms and readers of the same maps, across shortcuts too.

    A unit is the least that can go: a channel, or one in each part of a grouped convolution.

    Attributes:
        root: the layer whose outputs number the channels.
        root_units: the unit of each of these, (C,).
        sides: all layers concerned.
        units: how many there are.
    """

    root: nn.Module
    root_units: Tensor
    sides: tuple[Side, ...]
    units: int

    @property
    def norms(self) -> list[Side]:
        """Return the batch norms with a scale of their own."""
        return [side for side in self.sides if isinstance(side.layer, _BatchNorm) and side.layer.affine]


# For each group, which of its units stay, bool (U,).
UnitMasks = Sequence[Tensor]


class ChannelGroups:
    """The groups of a network that can be pruned: those with a batch norm, without the logits.

    Args:
        model: in evaluation mode, on the CPU.
        classifier: the layer that keeps its outputs.
        image_size: (height, width) of an image to trace the network with.

    Raises:
        UserError: the network cannot be followed.
    """

    def __init__(self, model: nn.Module, classifier: nn.Module, image_size: tuple[int, int]) -> None:
        if any(isinstance(module, EfficientChannelAttention) for module in model.modules()):
            raise UserError("--prune cannot take channels out of this model: its gates (ECA) compare each channel with its neighbors")
        if any(isinstance(module, ChannelCorrelations) for module in model.modules()):
            raise UserError("--prune cannot take channels out of this model: its classifier reads how pairs of channels vary together")
        self.model = model
        image = torch.zeros(1, input_channels(model), *image_size)
        self._places = _count_places(model, image)
        with _explained(), _learning(model):
            import torch_pruning as tp

            self._graph = tp.DependencyGraph().build_dependency(model, image)
            found = [self._read(group) for group in self._graph.get_all_groups(ignored_layers=[classifier])]
        self.groups = [group for group in found if group.norms]

    def _read(self, found: Any) -> ChannelGroup:
        root, count = found[0].dep.target.module, len(found[0].idxs)
        layers = [item.dep.target.module for item in found]
        parts = max([layer.groups for layer in layers if isinstance(layer, _ConvNd) and not _is_depthwise(layer)], default=1)
        units = count // parts
        sides = []
        for item in found:
            layer, is_output = item.dep.target.module, self._graph.is_out_channel_pruning_fn(item.dep.handler)
            # The inputs of a depthwise convolution are its outputs.
            if isinstance(layer, _ConvNd | nn.Linear | _BatchNorm) and (is_output or not _is_depthwise(layer)):
                sides.append(Side(layer, is_output, torch.tensor(item.idxs), torch.tensor(item.root_idxs) % units))
        return ChannelGroup(root, torch.arange(count) % units, tuple(sides), units)

    def everything(self) -> list[Tensor]:
        """Return the choice that keeps all units."""
        return [torch.ones(group.units, dtype=torch.bool) for group in self.groups]

    def channels(self, kept: UnitMasks) -> int:
        """Return how many channels of the groups are left."""
        return sum(int(stay[group.root_units].sum()) for group, stay in zip(self.groups, kept, strict=True))

    def multiply_adds(self, kept: UnitMasks) -> float:
        """Return what convolutions and linear layers cost for one image when only these units are left."""
        return sum(self._cost(layer) * inputs * outputs for layer, (inputs, outputs) in self._shares(kept).items())

    def savings(self, kept: UnitMasks) -> list[Tensor]:
        """Return the multiply-adds that the removal of each unit alone would save, (U,) a group."""
        left, found = self._shares(kept), []
        for group in self.groups:
            saved = torch.zeros(group.units, dtype=torch.float64)
            for side in group.sides:
                if side.layer in left:
                    each = self._cost(side.layer) * left[side.layer][not side.is_output] / _width(side)
                    saved += each * torch.bincount(side.units, minlength=group.units)
            found.append(saved)
        return found

    def _shares(self, kept: UnitMasks) -> dict[nn.Module, list[float]]:
        """Return which shares of the inputs and of the outputs of each layer are left."""
        left = {layer: [1.0, 1.0] for layer in self._places}
        for group, stay in zip(self.groups, kept, strict=True):
            for side in group.sides:
                if side.layer in left:
                    left[side.layer][side.is_output] -= int((~stay)[side.units].sum()) / _width(side)
        return left

    def _cost(self, layer: nn.Module) -> float:
        return self._places[layer] * layer.get_parameter("weight").numel()

    def remove(self, kept: UnitMasks) -> None:
        """Take the other units out of the network; this object does not describe it any more."""
        resting = {name for name, param in self.model.named_parameters() if not param.requires_grad}
        with _explained():
            for group, stay in zip(self.groups, kept, strict=True):
                gone = (~stay)[group.root_units].nonzero().flatten().tolist()
                if gone:
                    pruner: Any = self._graph.get_pruner_of_module(group.root)
                    self._graph.get_pruning_group(group.root, pruner.prune_out_channels, gone).prune()
        # Narrowed parameters are new ones, which learn.
        for name, param in self.model.named_parameters():
            param.requires_grad_(name not in resting)


@contextmanager
def masked_units(groups: Sequence[ChannelGroup], kept: UnitMasks) -> Iterator[dict[nn.Module, Tensor]]:
    """Make the network compute as if only these units were left; yield its gates.

    What a norm puts out is multiplied by its gate, 1 or 0 for every image and channel, (N, C). Where gradients are wanted, the
    gradient of a gate is the first-order change of the loss for that image if the channel were opened; for an open one, minus
    the change if it were closed.
    """
    masks: dict[nn.Module, Tensor] = {}
    for group, stay in zip(groups, kept, strict=True):
        for side in group.norms:
            assert isinstance(side.layer, _BatchNorm)
            mask = masks.setdefault(side.layer, torch.ones(side.layer.num_features))
            mask[side.positions] = stay[side.units].float()
    gates: dict[nn.Module, Tensor] = {}

    def close(norm: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        gates[norm] = masks[norm].expand(len(output), -1).clone().requires_grad_(torch.is_grad_enabled())
        return output * gates[norm].reshape(*gates[norm].shape, *[1] * (output.ndim - 2))

    handles = [norm.register_forward_hook(close) for norm in masks]
    try:
        yield gates
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _learning(model: nn.Module) -> Iterator[None]:
    """Let all parameters learn inside the block: torch-pruning follows the gradients' way."""
    resting = [param for param in model.parameters() if not param.requires_grad]
    model.requires_grad_(True)
    try:
        yield
    finally:
        for param in resting:
            param.requires_grad_(False)


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, _ConvNd) and layer.groups == layer.in_channels == layer.out_channels > 1


def _width(side: Side) -> int:
    layer = side.layer
    if isinstance(layer, _ConvNd):
        return layer.out_channels if side.is_output else layer.in_channels
    assert isinstance(layer, nn.Linear)
    return layer.out_features if side.is_output else layer.in_features


def _count_places(model: nn.Module, image: Tensor) -> dict[nn.Module, int]:
    """Return how often each convolution and linear layer applies its weights to one image."""
    places: dict[nn.Module, int] = {}

    def count(layer: nn.Module, _inputs: tuple, output: Tensor) -> None:
        assert isinstance(layer, _ConvNd | nn.Linear)
        width = layer.out_channels if isinstance(layer, _ConvNd) else layer.out_features
        places[layer] = places.get(layer, 0) + output.numel() // width

    handles = [layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, _ConvNd | nn.Linear)]
    with torch.no_grad():
        model(image)
    for handle in handles:
        handle.remove()
    return places


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what torch-pruning raises into a mistake that a user can understand, and keep its notes to itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImportError as error:
        raise UserError("--prune needs the package torch-pruning: pip install torch-pruning") from error
    except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"--prune cannot follow the channels of this model ({reason})") from error
