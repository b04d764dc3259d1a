"""Where a traced classifier can be cut into maps and a head.

A cut is a node through which everything later depends on everything earlier. The head begins at the
last cut that is a map or a token grid, before the classifier; at the other strides the map is the cut
that ends the outermost block.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, fx, nn

from models.maps.layout import FeatureMaps, Layout, own_tensor, stride_of, to_map, with_last
from models.modules import evaluating

# Layers of the head: what comes out of them is no better a map than what goes in.
HEAD_LAYERS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Dropout)


@dataclass(frozen=True)
class MapNode:
    """A node of the graph, how it carries its features, and what the map is."""

    node: str
    layout: Layout
    channels: int
    stride: int


@dataclass(frozen=True)
class GraphSplit:
    """The cuts, the largest map first, and the node of the classifier."""

    cuts: tuple[MapNode, ...]
    classifier: str


class _Walker(fx.Interpreter):
    """Runs a graph on the modules of a network and keeps the values of some nodes."""

    def __init__(self, net: nn.Module, graph: fx.Graph, keep: set[str] | None = None) -> None:
        super().__init__(net, graph=graph)
        self.keep = keep
        self.kept: dict[str, Any] = {}
        self.shapes: dict[str, torch.Size] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.shapes[n.name] = value.shape
        if self.keep is not None and n.name in self.keep:
            self.kept[n.name] = value
        return value


def trace(net: nn.Module, *, wrap: tuple[Any, ...]) -> fx.Graph:
    """The graph of `net` in its present mode; functions of the modules in `wrap` stay whole."""
    return fx.Tracer(autowrap_modules=(math, *wrap)).trace(net)


def find_cut(net: nn.Module, graph: fx.Graph, *, classifier: str, size: int) -> GraphSplit | None:
    """Find the cuts of a graph traced in evaluation mode, by one pass over a square image of `size` pixels.

    Returns:
        None where the graph has no map before the classifier.
    """
    weight = net.get_submodule(classifier).get_parameter("weight")
    walker = _Walker(net, graph)
    with evaluating(net), torch.no_grad():
        walker.run(torch.zeros(2, 3, size, size, device=weight.device, dtype=weight.dtype))
    head = next(node for node in graph.nodes if node.op == "call_module" and node.target == classifier)
    found: dict[int, tuple[int, MapNode]] = {}
    last: MapNode | None = None
    for node in _bottlenecks(graph, head):
        pooled = node.op == "call_module" and isinstance(net.get_submodule(str(node.target)), HEAD_LAYERS)
        shape = walker.shapes.get(node.name)
        layout = None if shape is None or pooled else _layout(shape)
        if shape is None or layout is None:
            continue
        last = _cut(node, layout, shape=shape, size=size)
        depth = _shared_depth(node, node.next)
        if last.stride not in found or depth <= found[last.stride][0]:
            found[last.stride] = (depth, last)
    if last is None:
        return None
    earlier = [cut for _, cut in found.values() if cut.stride < last.stride and cut.layout.kind != "NLC" and cut.stride > 1]
    return GraphSplit((*sorted(earlier, key=lambda cut: cut.stride), last), head.name)


def run_features(net: nn.Module, graph: fx.Graph, split: GraphSplit, *, x: Tensor) -> FeatureMaps:
    """The maps at the cuts."""
    *earlier, last = split.cuts
    walker = _Walker(net, graph, {cut.node for cut in split.cuts})
    nodes = list(graph.nodes)
    end = _position(nodes, last.node)
    walker.run(x, initial_env=dict.fromkeys(nodes[end + 1 :]))
    maps = [to_map(walker.kept[cut.node], cut.layout) for cut in earlier]
    return with_last(maps, walker.kept[last.node], layout=last.layout)


def run_head(net: nn.Module, graph: fx.Graph, split: GraphSplit, *, maps: list[Tensor], pre_logits: bool) -> Tensor:
    """Logits from the last map, or the vector (N, C) that enters the classifier."""
    nodes = list(graph.nodes)
    start = _position(nodes, split.cuts[-1].node)
    # Run the graph from the cut on: skip every earlier node except constants and parameters.
    env: dict[fx.Node, Any] = dict.fromkeys(node for node in nodes[:start] if node.op != "get_attr")
    env[nodes[start]] = own_tensor(maps)
    classifier = nodes[_position(nodes, split.classifier)]
    source = classifier.all_input_nodes[0]
    walker = _Walker(net, graph, {source.name})
    logits = walker.run(initial_env=env)
    if not pre_logits:
        return logits
    vector = walker.kept[source.name] if source.name in walker.kept else env[source]
    return vector.mean((2, 3)) if vector.ndim == 4 else vector


def _bottlenecks(graph: fx.Graph, end: fx.Node) -> Iterator[fx.Node]:
    """Nodes before `end` whose value is the only one, constants aside, that later nodes use."""
    nodes = list(graph.nodes)
    order = {node: index for index, node in enumerate(nodes)}
    reach = -1
    for index, node in enumerate(takewhile(lambda node: node is not end, nodes)):
        if node.op != "get_attr" and reach <= index and node.op != "placeholder":
            yield node
        if node.op != "get_attr":
            reach = max([reach, *(order[user] for user in node.users)])


def _layout(shape: torch.Size) -> Layout | None:
    """The layout of features of a square image, or None where they have no pixels."""
    if len(shape) == 4 and shape[2] == shape[3] > 1:
        return Layout("NCHW")
    if len(shape) == 4 and shape[1] == shape[2] > 1:
        return Layout("NHWC")
    if len(shape) == 3:
        for prefix in (0, 1):
            side = math.isqrt(shape[1] - prefix)
            if side > 1 and side * side == shape[1] - prefix:
                return Layout("NLC", prefix)
    return None


def _cut(node: fx.Node, layout: Layout, *, shape: torch.Size, size: int) -> MapNode:
    side = {"NCHW": shape[-1], "NHWC": shape[1], "NLC": math.isqrt(shape[1])}[layout.kind]
    channels = shape[1] if layout.kind == "NCHW" else shape[-1]
    return MapNode(node.name, layout, channels, stride_of(size, side))


def _shared_depth(node: fx.Node, following: fx.Node) -> int:
    """How many modules hold both nodes: 0 between two blocks of the network itself."""
    pairs = zip(_modules(node), _modules(following), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _modules(node: fx.Node) -> list[str]:
    return list(node.meta.get("nn_module_stack", {}))


def _position(nodes: list[fx.Node], name: str) -> int:
    return next(index for index, node in enumerate(nodes) if node.name == name)
