"""The choice among boxes as operators of ONNX is that of the program, in ONNX Runtime and in OpenVINO."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from onnx import TensorProto, helper

from applications.formats.facts import BoxFacts
from applications.formats.onnx_boxes import RAW, choose_in_graph
from applications.tasks.box_answers import Choice, chosen_boxes

OUTPUTS = ("boxes", "scores", "classes")
CLASSES, PLACES = 3, 60


def bare_model(facts: BoxFacts, opset: int) -> onnx.ModelProto:
    """Return a model that hands boxes and scores through, and chooses among them."""
    sizes = {RAW[0]: ["n", "a", 4], RAW[1]: ["n", "a", CLASSES]}
    inputs = [helper.make_tensor_value_info(f"in_{name}", TensorProto.FLOAT, size) for name, size in sizes.items()]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in sizes.items()]
    nodes = [helper.make_node("Identity", [f"in_{name}"], [name]) for name in RAW]
    model = helper.make_model(
        helper.make_graph(nodes, "net", inputs, outputs), opset_imports=[helper.make_opsetid("", opset)], ir_version=9
    )
    choose_in_graph(model, facts, OUTPUTS)
    onnx.checker.check_model(model)
    return model


def by_onnx(model: onnx.ModelProto) -> Callable[..., list[np.ndarray]]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda corners, scores: session.run(list(OUTPUTS), {f"in_{RAW[0]}": corners, f"in_{RAW[1]}": scores})


def by_openvino(model: onnx.ModelProto) -> Callable[..., list[np.ndarray]]:
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(corners: np.ndarray, scores: np.ndarray) -> list[np.ndarray]:
        answer = compiled([corners, scores])
        return [np.array(answer[number]) for number in range(3)]

    return run


def boxes(seed: int, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    middles = rng.uniform(20, 80, (count, 8, 2))[:, rng.integers(0, 8, PLACES)] + rng.normal(0, 3, (count, PLACES, 2))
    sizes = rng.uniform(10, 20, (count, PLACES, 2))
    corners = np.concatenate([middles - sizes / 2, middles + sizes / 2], axis=2)
    return corners.astype(np.float32), (rng.random((count, PLACES, CLASSES)) ** 2).astype(np.float32)


@pytest.mark.parametrize("runtime", [by_onnx, by_openvino])
@pytest.mark.parametrize("opset", [13, 20])
@pytest.mark.parametrize("facts", [BoxFacts(0.3, 0.5, 20, False), BoxFacts(0.3, 0.5, 20, True), BoxFacts(0.01, 0.9, 250, False)])
def test_chosen_boxes_are_those_of_the_program(
    facts: BoxFacts, opset: int, runtime: Callable[..., Callable[..., list[np.ndarray]]]
) -> None:
    corners, scores = boxes(1)
    found = runtime(bare_model(facts, opset))(corners, scores)
    assert found[0].shape == (2, facts.most, 4)
    for number in range(2):
        said = torch.cat([torch.from_numpy(corners[number]), torch.ones(PLACES, 1), torch.from_numpy(scores[number])], 1)
        wanted = chosen_boxes(said, Choice(facts.confidence, facts.overlap, facts.most, facts.agnostic))
        count = len(wanted.scores)
        np.testing.assert_allclose(found[1][number, :count], wanted.scores, rtol=1e-6)
        np.testing.assert_array_equal(found[2][number, :count], wanted.classes)
        np.testing.assert_allclose(found[0][number, :count], wanted.corners, rtol=1e-6)
        assert set(found[2][number, count:].tolist()) <= {-1}
        assert not found[1][number, count:].any()


@pytest.mark.parametrize("runtime", [by_onnx, by_openvino])
def test_an_image_without_a_sure_box_gets_none(runtime: Callable[..., Callable[..., list[np.ndarray]]]) -> None:
    found = runtime(bare_model(BoxFacts(1.0, 0.5, 5, False), 20))(*boxes(2))
    assert set(found[2].ravel().tolist()) == {-1}
