"""Adds to the ONNX graph of a detector what chooses among its boxes, in operators that ONNX Runtime and OpenVINO have.

Without branches and of fixed size: what NonMaxSuppression leaves is laid over zeros at the place of every box and class, and the highest
of those are the answers.
"""

from importlib import import_module
from typing import Any

import numpy as np

from applications.formats.facts import BoxFacts

RAW = ("raw_boxes", "raw_scores")
# What the added operators need, batched GatherND and TopK of a computed number among them.
LEAST_OPSET = 13


def choose_in_graph(model: Any, facts: BoxFacts, outputs: tuple[str, ...]) -> None:
    """Let a model answer chosen boxes in place of all of them.

    Its outputs become, by falling score and filled up to `facts.most`: boxes float32 (n, K, 4), scores float32 (n, K), 0 where there is
    none, classes int64 (n, K), -1 where there is none.

    Args:
        model: ONNX, whose outputs are named RAW: boxes (n, A, 4) and scores (n, A, C).
        facts: which boxes are chosen.
        outputs: names of boxes, scores and classes.
    """
    onnx: Any = import_module("onnx")
    graph, add = model.graph, _Nodes(model.graph)
    boxes, scores = RAW
    number = add.constants
    if facts.agnostic:
        named = add("ArgMax", [scores], axis=2, keepdims=0)
        best = add("ReduceMax", [scores, number("axis", [2])] if _opset(model) >= 18 else [scores], **_axes(model, 2))
        by_class = add("Transpose", [best], perm=[0, 2, 1])
    else:
        named = ""
        by_class = add("Transpose", [scores], perm=[0, 2, 1])
    limits = [number("most", [facts.most]), number("overlap", [facts.overlap], np.float32), number("least", [facts.confidence], np.float32)]
    chosen = add("NonMaxSuppression", [boxes, by_class, *limits])
    shape = add("Shape", [by_class])
    zeros = add("ConstantOfShape", [shape], value=onnx.helper.make_tensor("zero", onnx.TensorProto.FLOAT, [1], [0.0]))
    kept = add("ScatterND", [zeros, chosen, add("GatherND", [by_class, chosen])])
    flat = add("Reshape", [kept, number("flat", [0, -1])])
    # There may be fewer boxes than are answered.
    padded = add("Pad", [flat, number("beyond", [0, 0, 0, facts.most])])
    values, places = add("TopK", [padded, number("count", [facts.most])], outputs=2, axis=1)
    count = add("Gather", [shape, number("last", 2)], axis=0)
    place = add("Mod", [places, count])
    label = add("Div", [places, count])
    at = add("Unsqueeze", [place, number("behind", [-1])])
    if facts.agnostic:
        label = add("GatherND", [named, at], batch_dims=1)
    exists = add("Greater", [values, number("nothing", 0.0, np.float32)])
    corners = add("GatherND", [boxes, at], batch_dims=1)
    wide = add("Unsqueeze", [exists, number("behind_too", [-1])])
    add("Where", [wide, corners, number("no_corner", 0.0, np.float32)], name=outputs[0])
    add("Identity", [values], name=outputs[1])
    add("Where", [exists, label, number("no_class", -1)], name=outputs[2])
    batch = graph.output[0].type.tensor_type.shape.dim[0]
    first = batch.dim_param or batch.dim_value or "n"
    del graph.output[:]
    kinds = ((onnx.TensorProto.FLOAT, [first, facts.most, 4]), (onnx.TensorProto.FLOAT, [first, facts.most]))
    for name, (kind, size) in zip(outputs, (*kinds, (onnx.TensorProto.INT64, [first, facts.most])), strict=True):
        graph.output.append(onnx.helper.make_tensor_value_info(name, kind, size))


class _Nodes:
    """Adds nodes and constants to a graph."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.onnx: Any = import_module("onnx")
        self.count = 0

    def __call__(self, kind: str, inputs: list[str], *, outputs: int = 1, name: str = "", **attributes: Any) -> Any:
        """Add a node; return the name of its output, or a list of several."""
        self.count += 1
        own = [name or f"choose_{self.count}_{number}" for number in range(outputs)]
        self.graph.node.append(self.onnx.helper.make_node(kind, inputs, own, name=f"choose/{self.count}_{kind}", **attributes))
        return own[0] if outputs == 1 else own

    def constants(self, name: str, value: Any, kind: Any = np.int64) -> str:
        """Add a constant; return its name."""
        own = f"choose_{name}"
        self.graph.initializer.append(self.onnx.numpy_helper.from_array(np.array(value, kind), own))
        return own


def _opset(model: Any) -> int:
    return next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))


def _axes(model: Any, axis: int) -> dict[str, Any]:
    """Return the attributes of a reduction, whose axes became an input in opset 18."""
    return {"keepdims": 1} if _opset(model) >= 18 else {"keepdims": 1, "axes": [axis]}


def can_choose(model: Any) -> bool:
    """Whether the operators of a model are of a version that has all that is added."""
    return _opset(model) >= LEAST_OPSET
