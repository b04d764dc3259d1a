"""Rounds what convolutions of an ONNX graph in 8 bits answer.

ONNX Runtime computes a convolution in 8 bits only where its answer is rounded at once, or behind a ReLU. NNCF rounds behind the activation;
where that is a swish, the convolution is computed in floating point, and what comes in is turned back before it.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from applications.formats.int8 import Answer

# Images by which ranges are chosen.
RANGE_IMAGES = 64
# What ONNX Runtime joins with the convolution before it.
JOINED = frozenset({"Relu", "Clip"})
# Lowest and highest value of what a convolution answers, by the name of that.
Ranges = Mapping[str, tuple[float, float]]


def ranges_of(model: Any, images: Sequence[np.ndarray], opened: Callable[[Any], Answer]) -> Ranges:
    """Return the ranges of what all convolutions answer: the lowest and highest value of an image, on average.

    Args:
        model: in floating point.
        images: (1, 3, h, w), of which some are asked.
        opened: makes a model answer.
    """
    onnx: Any = import_module("onnx")
    helper, asked = onnx.helper, onnx.ModelProto()
    asked.CopyFrom(model)
    names = [node.output[0] for node in model.graph.node if node.op_type == "Conv"]
    if not names:
        return {}
    del asked.graph.output[:]
    for number, name in enumerate(names):
        for kind in ("ReduceMin", "ReduceMax"):
            output = f"{kind}_of_conv_{number}"
            asked.graph.node.append(helper.make_node(kind, [name], [output], keepdims=0))
            asked.graph.output.append(helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, []))
    chosen = images[:: max(1, len(images) // RANGE_IMAGES)]
    answer = opened(asked)
    low, high = np.mean([np.reshape(answer(image), (-1, 2)) for image in chosen], axis=0).T
    return {name: (float(first), float(last)) for name, first, last in zip(names, low, high, strict=True)}


def round_outputs(model: Any, ranges: Ranges) -> Any:
    """Return a graph of 8 bits in which the answer of every quantized convolution is rounded.

    Args:
        model: as NNCF returns it.
        ranges: of `ranges_of`.
    """
    onnx: Any = import_module("onnx")
    found = onnx.ModelProto()
    found.CopyFrom(model)
    makers = {output: node.op_type for node in model.graph.node for output in node.output}
    del found.graph.node[:]
    for node in model.graph.node:
        found.graph.node.append(node)
        quantized = node.op_type == "Conv" and all(makers.get(name) == "DequantizeLinear" for name in node.input[:2])
        if quantized and not _is_rounded(node.output[0], model.graph):
            _round(found.graph, ranges[node.output[0]])
    return found


def _is_rounded(name: str, graph: Any) -> bool:
    readers = [node for node in graph.node if name in node.input]
    if len(readers) == 1 and readers[0].op_type in JOINED:
        return _is_rounded(readers[0].output[0], graph)
    return bool(readers) and all(node.op_type == "QuantizeLinear" for node in readers)


def _round(graph: Any, between: tuple[float, float]) -> None:
    """Round the answer of the last node, whose name is then that of the rounded one."""
    onnx: Any = import_module("onnx")
    name = graph.node[-1].output[0]
    low, high = min(between[0], 0.0), max(between[1], 0.0)
    scale = max(high - low, 1e-12) / 255
    before, rounded, scale_name, zero_name = (f"{name}_{part}" for part in ("before", "rounded", "step", "zero"))
    graph.node[-1].output[0] = before
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(scale, np.float32), scale_name))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(np.clip(round(-low / scale), 0, 255), np.uint8), zero_name))
    for kind, source, target in (("QuantizeLinear", before, rounded), ("DequantizeLinear", rounded, name)):
        graph.node.append(onnx.helper.make_node(kind, [source, scale_name, zero_name], [target], name=f"{kind}_{name}_answer"))
