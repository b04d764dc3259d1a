"""How NNCF corrects biases for what rounding of weights moves on average, and how far that can be relied on."""

import contextlib
from collections.abc import Iterator, Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np

# The exact correction keeps what some layers answer for a fifth of the images in memory: about 250 bytes a pixel, so two GB at most.
SHARE = 5
MOST_PIXELS = 2**23


def can_be_exact(images: Sequence[np.ndarray]) -> bool:
    """Whether the exact correction has room for images (1, 3, h, w), all of one size."""
    return images[0].shape[-1] * images[0].shape[-2] * len(images) // SHARE <= MOST_PIXELS


@contextlib.contextmanager
def whole_parts() -> Iterator[None]:
    """Let NNCF ask parts of any ONNX graph, as its exact correction does.

    It names what a part reads once for each layer: the same input twice, where several layers read one value, is no valid graph. It finds
    that value by one of these layers, which the part may lack. And it asks for values inside of what ONNX Runtime joins into one operator,
    such as a convolution with the sum behind it, unless told not to.
    """
    utils: Any = import_module("onnx.utils")
    engine: Any = import_module("nncf.onnx.engine")
    backend: Any = import_module("nncf.quantization.algorithms.bias_correction.onnx_backend").ONNXBiasCorrectionAlgoBackend
    cut, runtime, read = utils.Extractor.extract_model, engine.rt, backend.get_input_name

    whole: dict[str, Sequence[str]] = {}

    def cut_once(self: Any, input_names: Sequence[str], output_names: Sequence[str]) -> Any:
        whole.update({node.name: list(node.input) for node in self.graph.node})
        return cut(self, list(dict.fromkeys(input_names)), list(dict.fromkeys(output_names)))

    def options() -> Any:
        found = runtime.SessionOptions()
        found.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        found.log_severity_level = 4
        return found

    def read_in_whole(model: Any, layer: str, port: int) -> str:
        return read(model, layer, port) if any(node.name == layer for node in model.graph.node) else whole[layer][port]

    class Session(runtime.InferenceSession):
        def run(self, outputs: Any, feed: dict[str, Any], *others: Any) -> Any:
            known = {value.name for value in self.get_inputs()}
            return super().run(outputs, {name: value for name, value in feed.items() if name in known}, *others)

    utils.Extractor.extract_model = cut_once
    engine.rt = SimpleNamespace(SessionOptions=options, InferenceSession=Session)
    backend.get_input_name = staticmethod(read_in_whole)
    try:
        yield
    finally:
        utils.Extractor.extract_model, engine.rt, backend.get_input_name = cut, runtime, staticmethod(read)
