"""Convolutions of ONNX graphs in 8 bits round what they answer, so that their runtime computes them in 8 bits."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest

from applications.formats.int8 import Answer
from applications.formats.onnx_rounding import ranges_of, round_outputs

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
onnx: Any = import_module("onnx")
runtime: Any = import_module("onnxruntime")
IMAGES = [np.random.default_rng(seed).normal(size=(1, 2, 5, 5)).astype(np.float32) for seed in range(4)]


def graph(activation: str, *, quantized: bool = True) -> Any:
    """Return a convolution, an activation and a rounding, whose inputs are rounded where it is quantized."""
    helper, to_tensor = onnx.helper, onnx.numpy_helper.from_array
    weight = np.random.default_rng(0).integers(-127, 128, (3, 2, 3, 3)).astype(np.int8)
    stored = {
        "step": np.array(0.05, np.float32),
        "zero": np.array(128, np.uint8),
        "weight_step": np.array(0.01, np.float32),
        "weight_zero": np.array(0, np.int8),
        "weight_8": weight,
        "weight_32": 0.01 * weight.astype(np.float32),
        "bias": np.array([1.0, -1.0, 0.5], np.float32),
    }
    node = helper.make_node
    inner = [
        node("QuantizeLinear", ["images", "step", "zero"], ["images_8"]),
        node("DequantizeLinear", ["images_8", "step", "zero"], ["images_32"]),
        node("DequantizeLinear", ["weight_8", "weight_step", "weight_zero"], ["weight"]),
    ]
    nodes = [
        *(inner if quantized else []),
        node("Conv", ["images_32", "weight", "bias"] if quantized else ["images", "weight_32", "bias"], ["conv"], name="conv"),
        node(activation, ["conv"], ["active"]),
        node("QuantizeLinear", ["active", "step", "zero"], ["active_8"]),
        node("DequantizeLinear", ["active_8", "step", "zero"], ["answer"]),
    ]
    value = helper.make_tensor_value_info
    ends = ([value("images", 1, [1, 2, 5, 5])], [value("answer", 1, None)])
    made = helper.make_graph(nodes, "net", *ends, [to_tensor(array, name) for name, array in stored.items()])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def opened(model: Any) -> Answer:
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda image: session.run(None, {"images": image})


def kinds(model: Any) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_ranges_are_those_of_what_convolutions_answer() -> None:
    model = graph("HardSwish", quantized=False)
    (low, high) = ranges_of(model, IMAGES, opened)["conv"]
    model.graph.output[0].name = "conv"
    answers = [opened(model)(image)[0] for image in IMAGES]
    assert low == pytest.approx(np.mean([each.min() for each in answers]), rel=1e-5)
    assert high == pytest.approx(np.mean([each.max() for each in answers]), rel=1e-5)


def test_a_convolution_before_a_swish_is_rounded_and_answers_the_same_up_to_a_step() -> None:
    model = graph("HardSwish")
    ranges = ranges_of(graph("HardSwish", quantized=False), IMAGES, opened)
    found = round_outputs(model, ranges)
    assert kinds(found)[3:7] == ["Conv", "QuantizeLinear", "DequantizeLinear", "HardSwish"]
    assert kinds(model).count("QuantizeLinear") == 2, "what was handed over is left as it was"
    step = (ranges["conv"][1] - min(0.0, ranges["conv"][0])) / 255
    for image in IMAGES:
        plain, rounded = (opened(each)(image)[0] for each in (model, found))
        inside = plain < 0.8 * ranges["conv"][1]
        assert 0 < np.abs(plain - rounded)[inside].max() < 2 * step + 0.05


@pytest.mark.parametrize("activation", ["Relu", "Clip"])
def test_what_the_runtime_rounds_with_its_relu_is_left(activation: str) -> None:
    model = graph(activation)
    assert kinds(round_outputs(model, {"conv": (-1.0, 1.0)})) == kinds(model)


def test_a_convolution_in_floating_point_is_left() -> None:
    model = graph("HardSwish", quantized=False)
    assert kinds(round_outputs(model, {"conv": (-1.0, 1.0)})) == kinds(model)
