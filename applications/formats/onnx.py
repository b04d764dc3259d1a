"""ONNX: one file for ONNX Runtime and most other runtimes."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from applications.formats.bias_correction import whole_parts
from applications.formats.deployed import Deployed
from applications.formats.facts import FACTS, Facts
from applications.formats.format import Format, Holds, Opened, WriteSettings
from applications.formats.int8 import Answer, Op, QuantizationData, Quantized, in_floating_point, layer_names, quantize
from applications.formats.onnx_boxes import LEAST_OPSET, RAW, can_choose, choose_in_graph
from applications.formats.package import Package
from applications.formats.torch_export import traced_parts
from utils.errors import UserError

# Protocol buffers end there; weights beyond it go into a file beside.
LARGEST = 2**31 - 2**20
INPUT = "images"
TO_WRITE = (Package("onnx", "onnx", 35), Package("onnxscript", "onnxscript", 8))


class Onnx(Format):
    """The graph of torch.export in the operators of ONNX; where that fails, the older exporter's, without geometry."""

    name = "onnx"
    suffix = ".onnx"
    holds = Holds(opset=True, int8=True, suppression=True)
    in_demo = portable = True
    to_write = TO_WRITE
    to_open = (Package("onnxruntime", "onnxruntime", 70),)

    def write(self, deployed: Deployed, path: Path, facts: Facts, settings: WriteSettings) -> list[str]:
        onnx: Any = import_module("onnx")
        model, facts, notes = to_onnx(deployed, facts, opset=settings.opset)
        onnx.helper.set_model_props(model, {FACTS: facts.to_json()})
        save(model, path)
        return notes

    def open(self, path: Path, *, threads: int | None = None) -> Opened:
        session = self._session(path.read_bytes() if path.stat().st_size < LARGEST else str(path), path, threads=threads)
        try:
            facts = Facts.from_json(session.get_modelmeta().custom_metadata_map[FACTS])
        except (ValueError, KeyError, TypeError) as error:
            raise self.damaged(path) from error
        return Opened(facts, lambda images: session.run(None, {INPUT: images}))

    def inner_values(self, path: Path, images: np.ndarray) -> Iterator[np.ndarray]:
        onnx: Any = import_module("onnx")
        model = onnx.load(str(path))
        for node in model.graph.node:
            model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name)
        names = [node_output for node in model.graph.node for node_output in node.output if node_output]
        session = self._session(model.SerializeToString(), path, optimized=False)
        for value in session.run(names, {INPUT: images}):
            if isinstance(value, np.ndarray) and value.dtype in (np.float16, np.float32):
                yield value.astype(np.float32)

    def files(self, path: Path) -> list[Path]:
        beside = path.with_name(path.name + ".data")
        return [path, beside] if beside.is_file() else [path]

    def quantize(self, path: Path, calibration: QuantizationData) -> Quantized:
        onnx: Any = import_module("onnx")
        model = onnx.load(str(path))
        for number, node in enumerate(model.graph.node):
            node.name = node.name or f"{node.op_type}_{number}"
        facts = [(entry.key, entry.value) for entry in model.metadata_props]
        names = layer_names(_ops(model.graph))

        def answering(asked: Any) -> Answer:
            session = self._session(asked.SerializeToString(), path)
            return lambda images: session.run(None, {INPUT: images})

        found, notes = quantize(model, _ops(model.graph), calibration, answering, names=names, per_channel=False, around=whole_parts())
        onnx.helper.set_model_props(found, dict(facts))
        save(found, path)
        kept = in_floating_point(_ops(found.graph), frozenset({"DequantizeLinear"}))
        return Quantized([names.get(name, name) for name in kept], notes)

    def _session(self, model: bytes | str, path: Path, *, threads: int | None = None, optimized: bool = True) -> Any:
        runtime: Any = import_module("onnxruntime")
        options = runtime.SessionOptions()
        # Errors are raised; warnings of single nodes help nobody.
        options.log_severity_level = 4
        if threads:
            options.intra_op_num_threads = threads
        if not optimized:
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            # The runtime's errors share no type that it would name.
            raise self.damaged(path) from error


def to_onnx(deployed: Deployed, facts: Facts, *, opset: int | None) -> tuple[Any, Facts, list[str]]:
    """Return the ONNX model, what it holds, and what the user should know.

    Raises:
        UserError: neither exporter can write the network.
    """
    chooses = facts.boxes is not None and facts.chooses_boxes
    outputs = RAW if chooses else facts.outputs
    notes = []
    try:
        model = _by_graph(deployed, outputs, opset)
    except Exception as error:
        first = _reason(error)
        try:
            model = _by_trace(replace(deployed, any_size=False), outputs, opset)
        except Exception as error:
            raise UserError(f"ONNX cannot hold {facts.arch} ({first}); the older exporter fails, too ({_reason(error)})") from error
        notes = [f"written by the older exporter, without geometry: torch.export could not follow {facts.arch} ({first})"]
        facts = replace(facts, any_size=False)
    written = opset_of(model)
    if opset is not None and written != opset:
        raise UserError(f"--opset {opset}: {facts.arch} cannot be written in that version; take {written}, or leave it out")
    if chooses and facts.boxes is not None:
        if not can_choose(model):
            raise UserError(f"--opset {opset} has not what chooses among boxes; take {LEAST_OPSET} or later, or add --no_nms_inside")
        choose_in_graph(model, facts.boxes, facts.outputs)
    return model, facts, notes


def opset_of(model: Any) -> int:
    """Return the version of the standard operators of an ONNX model."""
    return next(entry.version for entry in model.opset_import if not entry.domain)


def _by_graph(deployed: Deployed, outputs: tuple[str, ...], opset: int | None) -> Any:
    module, example, sizes = traced_parts(deployed)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=opset,
            dynamic_shapes=(sizes,),
            input_names=[INPUT],
            output_names=list(outputs),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:
        # Metadata and doc strings hold paths of source files.
        del node.metadata_props[:]
        node.doc_string = ""
    return model


def _by_trace(deployed: Deployed, outputs: tuple[str, ...], opset: int | None) -> Any:
    onnx: Any = import_module("onnx")
    content = io.BytesIO()
    axes = {name: {0: "n"} for name in (INPUT, *outputs)}
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            deployed.module(),
            (deployed.example(),),
            content,  # pyright: ignore[reportArgumentType] - the older exporter takes files that are open
            dynamo=False,
            opset_version=opset,
            input_names=[INPUT],
            output_names=list(outputs),
            dynamic_axes=axes,
        )
    return onnx.load_model_from_string(content.getvalue())


def _ops(graph: Any) -> list[Op]:
    """Return the operations of a graph, its stored values and its inputs, in the order of computing."""
    makers = {output: node.name for node in graph.node for output in node.output}
    stored = [Op(tensor.name, "Constant") for tensor in graph.initializer]
    inputs = [Op(value.name, "Parameter") for value in graph.input]
    nodes = []
    for node in graph.node:
        sources = tuple(makers.get(name, name) for name in node.input if name)
        nodes.append(Op(node.name, node.op_type, sources))
    return [*stored, *inputs, *nodes]


def save(model: Any, path: Path) -> None:
    """Write an ONNX model; very large ones keep their weights in a file beside."""
    if model.ByteSize() < LARGEST:
        path.write_bytes(model.SerializeToString())
    else:
        import_module("onnx").save(model, str(path), save_as_external_data=True, location=path.name + ".data")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters from telling every step."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:160]
