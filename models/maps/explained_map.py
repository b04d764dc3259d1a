"""The map of a network that an explanation looks at, found by what the network does: no layer is named.

It is the last map of the contract where it is large enough and decides the answer. Elsewhere (transformers whose class token
alone makes the answer, images so small that the last map is a pixel, networks of the user's own) it is the output of the
last layer that has such a map.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models.backbone import Backbone
from models.classifier_input import classifier_inputs
from models.maps.layout import FeatureMaps, Layout, to_map
from utils.errors import UserError
from utils.networks.first_conv import input_channels

# Maps of a smaller side say hardly where.
SMALLEST_SIDE = 4
# Tokens that stand for no pixel: class, distillation, registers.
MOST_PREFIX_TOKENS = 16


class MapView(ABC):
    """A network with one of its maps laid open."""

    def __init__(self, model: Backbone) -> None:
        self.model = model

    @abstractmethod
    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the map (N, C, h, w), a leaf that requires gradient, and the logits (N, K) that follow from it.

        Only the layers behind the map take part in the gradient.
        """

    @abstractmethod
    def answers(self, x: Tensor, maps: Tensor) -> Tensor:
        """Return the logits (M, K) that M maps (M, C, h, w) of one image x (1, 3, H, W) lead to, without gradient."""


class ContractView(MapView):
    """The last map of `forward_features`; answers need the head alone.

    Args:
        model: the network.
        dtype: in which the map is computed; what follows from it is float32 always, so that small differences count.
    """

    def __init__(self, model: Backbone, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(model)
        self.dtype = dtype

    def _features(self, x: Tensor) -> list[Tensor]:
        with torch.no_grad(), torch.autocast(x.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            maps = self.model.forward_features(x)
        maps[-1] = maps[-1].float()
        if isinstance(maps, FeatureMaps) and maps.prefix is not None:
            maps.prefix = maps.prefix.float()
        return maps

    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self._features(x)
        leaf = maps[-1].detach().requires_grad_()
        with torch.enable_grad():
            # The head may work in place.
            maps[-1] = leaf.clone()
            return leaf, self.model.forward_head(maps)

    def answers(self, x: Tensor, maps: Tensor) -> Tensor:
        own = self._features(x)
        with torch.no_grad():
            if isinstance(own, FeatureMaps) and own.prefix is not None:
                own.prefix = own.prefix.expand(len(maps), -1, -1)
            own[-1] = maps
            return self.model.forward_head(own)


@dataclass(frozen=True, eq=False)
class LayerTensor:
    """What goes into or comes out of a layer, at one of its calls, and how it carries the map."""

    layer: nn.Module
    call: int
    is_input: bool
    layout: Layout
    grid: tuple[int, int]


class LayerView(MapView):
    """The output of a layer; answers need a pass of the whole network."""

    def __init__(self, model: Backbone, place: LayerTensor) -> None:
        super().__init__(model)
        self.place = place

    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        leaves: list[Tensor] = []

        def open_up(output: Tensor) -> Tensor:
            # From here on the gradient is recorded, until the context around the pass ends.
            torch.set_grad_enabled(True)
            leaves.append(to_map(output, self.place.layout, grid=self.place.grid).detach().requires_grad_())
            return self._in_place_of(output, leaves[0]).clone()

        with torch.no_grad(), _replaced(self.place, open_up):
            logits = self.model(x)
        return leaves[0], logits

    def answers(self, x: Tensor, maps: Tensor) -> Tensor:
        with torch.no_grad(), _replaced(self.place, lambda output: self._in_place_of(output, maps).clone()):
            return self.model(x.expand(len(maps), -1, -1, -1))

    def _in_place_of(self, output: Tensor, maps: Tensor) -> Tensor:
        """Return the layer's output with the map in it."""
        layout = self.place.layout
        if layout.kind == "NCHW":
            return maps
        if layout.kind == "NHWC":
            return maps.permute(0, 2, 3, 1)
        return torch.cat([output[:, : layout.prefix], maps.flatten(2).transpose(1, 2)], dim=1)


def find_view(model: Backbone, image_size: tuple[int, int], *, dtype: torch.dtype = torch.float32) -> MapView:
    """Return the map that explanations of images of this (height, width) look at.

    Args:
        model: the network, in evaluation mode.
        image_size: height and width of the images.
        dtype: in which layers before the last map of the contract compute.

    Raises:
        UserError: no layer has a map of at least 4 x 4 pixels on which the answer depends.
    """
    x = probe_image(model, image_size)
    tokens = False
    if (maps := contract_maps(model, x)) is not None:
        view = ContractView(model, dtype)
        leaf, logits = view.look(x)
        if min(leaf.shape[-2:]) >= SMALLEST_SIDE and _decides(leaf, logits):
            return view
        tokens = isinstance(maps, FeatureMaps) and maps.layout.kind == "NLC"
    for place, tensor, logits in _seen(model, x, image_size):
        # Between its projections, attention holds tensors that are as long but no tokens.
        foreign = tokens and maps is not None and (place.layout.kind != "NLC" or tensor.shape[2] != maps[-1].shape[1])
        if not (foreign or place.is_input) and min(place.grid) >= SMALLEST_SIDE and _decides(tensor, logits, place):
            return LayerView(model, place)
    raise UserError(
        f"{image_size[0]} x {image_size[1]} images leave no layer of the network with a map of {SMALLEST_SIDE} x {SMALLEST_SIDE} "
        "pixels on which its answer depends; there is nothing to draw"
    )


def find_averaged(model: Backbone, image_size: tuple[int, int]) -> Callable[[Tensor], Tensor] | None:
    """Return a function from images to the map (N, C, h, w) whose mean over the pixels is what the classifier reads.

    Returns:
        None where there is no such map, or the classifier is no linear layer.
    """
    if not isinstance(model.get_classifier(), nn.Linear):
        return None
    x = probe_image(model, image_size)
    with classifier_inputs(model) as read:
        found = list(_seen(model, x, image_size))

    def is_read(maps: Tensor) -> bool:
        means = maps.mean((2, 3))
        return maps[0, 0].numel() > 1 and means.shape == read[0].shape and torch.allclose(means, read[0], rtol=1e-3, atol=1e-5)

    if (maps := contract_maps(model, x)) is not None and is_read(maps[-1]):
        return lambda images: model.forward_features(images)[-1]
    place = next((place for place, tensor, _ in found if is_read(to_map(tensor, place.layout, grid=place.grid))), None)
    return None if place is None else partial(_map_at, model, place)


def _map_at(model: Backbone, place: LayerTensor, x: Tensor) -> Tensor:
    found: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        found.append(value)
        return value

    with _replaced(place, keep):
        model(x)
    return to_map(found[0], place.layout, grid=place.grid)


def contract_maps(model: Backbone, x: Tensor) -> list[Tensor] | None:
    """Return what `forward_features` gives for x, without gradient; None where the network shows no maps of itself."""
    try:
        with torch.no_grad():
            return model.forward_features(x)
    except UserError:
        return None


def probe_image(model: nn.Module, image_size: tuple[int, int]) -> Tensor:
    """Return noise (1, C, H, W) to try a network with, always the same."""
    weight = next(model.parameters())
    noise = torch.randn(1, input_channels(model), *image_size, generator=torch.Generator().manual_seed(0))
    return noise.to(weight.device, weight.dtype)


def _decides(tensor: Tensor, logits: Tensor, place: LayerTensor | None = None) -> bool:
    """Whether the answer depends on the pixels of the map."""
    if not logits.requires_grad or not tensor.requires_grad:
        return False
    (gradient,) = torch.autograd.grad(logits.square().sum(), tensor, retain_graph=True, allow_unused=True)
    if gradient is None:
        return False
    if place is not None:
        gradient = to_map(gradient, place.layout, grid=place.grid)
    return bool(gradient.any())


def _seen(model: nn.Module, x: Tensor, image_size: tuple[int, int]) -> Iterator[tuple[LayerTensor, Tensor, Tensor]]:
    """Yield the maps that go into and come out of layers, the last first, with the logits."""
    calls: dict[nn.Module, int] = {}
    found: list[tuple[LayerTensor, Tensor]] = []

    def note(layer: nn.Module, value: Any, *, is_input: bool) -> None:
        shape = value.shape if isinstance(value, Tensor) else torch.Size()
        if (form := _form(shape, image_size)) is not None:
            found.append((LayerTensor(layer, calls[layer], is_input, *form), value))

    def before(layer: nn.Module, given: tuple[Any, ...]) -> None:
        calls[layer] = calls.get(layer, -1) + 1
        if given:
            note(layer, given[0], is_input=True)

    def after(layer: nn.Module, _: Any, output: Any) -> Any:
        note(layer, output, is_input=False)
        # What follows may work in place; what was noted must stay.
        return output.clone() if isinstance(output, Tensor) else output

    layers = [layer for layer in model.modules() if layer is not model]
    handles = [layer.register_forward_pre_hook(before) for layer in layers] + [layer.register_forward_hook(after) for layer in layers]
    try:
        with torch.enable_grad():
            logits = model(x.requires_grad_())
    finally:
        for handle in handles:
            handle.remove()
    for place, tensor in reversed(found):
        yield place, tensor, logits


def _form(shape: torch.Size, image_size: tuple[int, int]) -> tuple[Layout, tuple[int, int]] | None:
    """Return how a tensor of this shape carries a map of an image, and the map's (h, w); None where it carries none."""
    height, width = image_size
    # Convolutions without padding take more from the shorter side; on a square image all maps are square.
    slack = 1.0 if height == width else 1.35
    if len(shape) == 4:
        for layout, h, w in ((Layout("NCHW"), *shape[2:]), (Layout("NHWC"), *shape[1:3])):
            if 0 < h < height and w < width and 1 / slack <= (height * w) / (width * h) <= slack:
                return layout, (h, w)
    if len(shape) == 3:
        for prefix in range(min(MOST_PREFIX_TOKENS, shape[1] - 1)):
            tokens = shape[1] - prefix
            h = round((tokens * height / width) ** 0.5)
            if h and tokens % h == 0 and abs(height / h - width / (tokens // h)) < 1e-6:
                return Layout("NLC", prefix), (h, tokens // h)
    return None


@contextmanager
def _replaced(place: LayerTensor, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let `change` see, and replace, what stands at the place during the passes inside."""
    calls = -1

    def before(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        nonlocal calls
        calls += 1
        return (change(given[0]), *given[1:]) if place.is_input and calls == place.call else None

    def after(_: nn.Module, __: Any, output: Tensor) -> Tensor | None:
        return change(output) if not place.is_input and calls == place.call else None

    handles = [place.layer.register_forward_pre_hook(before), place.layer.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
