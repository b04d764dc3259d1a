"""OpenVINO: a graph (.xml) and its weights (.bin), for processors and graphics of Intel, and other CPUs."""

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from applications.formats.deployed import Deployed
from applications.formats.facts import Facts
from applications.formats.format import Format, Holds, Opened, WriteSettings
from applications.formats.int8 import Answer, Op, QuantizationData, Quantized, in_floating_point, layer_names, quantize
from applications.formats.onnx import INPUT, TO_WRITE, save, to_onnx
from applications.formats.package import Package

ENTRY = "darkroom"
# Through these come weights of 8 bits; others are stored as they are.
QUANTIZED = frozenset({"FakeQuantize", "Convert"})


class OpenVino(Format):
    """Converted from the ONNX graph, whose arithmetic on sizes its own reader of PyTorch graphs does not know."""

    name = "openvino"
    suffix = ".xml"
    holds = Holds(opset=True, int8=True, suppression=True)
    in_demo = portable = True
    to_open = (Package("openvino", "openvino", 180),)
    to_write = (*TO_WRITE, *to_open)

    def write(self, deployed: Deployed, path: Path, facts: Facts, settings: WriteSettings) -> list[str]:
        openvino: Any = import_module("openvino")
        graph, facts, notes = to_onnx(deployed, facts, opset=settings.opset)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".onnx.") as folder:
            between = Path(folder) / "model.onnx"
            save(graph, between)
            model = openvino.Core().read_model(str(between))
            model.set_rt_info(facts.to_json(), [ENTRY])
            # Weights of 16 bits are those of a network in 16 bits, never those of the geometry.
            openvino.save_model(model, str(path), compress_to_fp16=False)
        return notes

    def open(self, path: Path, *, threads: int | None = None) -> Opened:
        openvino: Any = import_module("openvino")
        with path.open("rb") as file:
            # OpenVINO tries other kinds of files on whatever this is not, each with words of its own.
            if b"<net" not in file.read(1024):
                raise self.damaged(path)
        # Without it, processors with arithmetic of 16 bits use that for everything, and answers differ in the second digit.
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            core = openvino.Core()
            model = core.read_model(str(path))
            facts = Facts.from_json(model.get_rt_info([ENTRY]).astype(str))
            compiled = core.compile_model(model, "CPU", settings)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise self.damaged(path) from error

        return Opened(facts, lambda images: _arrays(compiled(images)))

    def files(self, path: Path) -> list[Path]:
        return [path, path.with_suffix(".bin")]

    def quantize(self, path: Path, calibration: QuantizationData) -> Quantized:
        openvino: Any = import_module("openvino")
        model = openvino.Core().read_model(str(path))
        facts = model.get_rt_info([ENTRY]).astype(str)
        names = layer_names(_ops(model))
        simplify(model)
        names = layer_names(_ops(model)) | names

        def answering(asked: Any) -> Answer:
            return lambda images: _arrays(asked({INPUT: images}))

        found, notes = quantize(model, _ops(model), calibration, answering, names=names)
        found.set_rt_info(facts, [ENTRY])
        # The file that was read may still be mapped into memory.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".int8.") as folder:
            between = Path(folder) / path.name
            openvino.save_model(found, str(between), compress_to_fp16=False)
            del model
            for file in sorted(Path(folder).iterdir()):
                file.replace(path.with_name(file.name))
        return Quantized([names.get(name, name) for name in in_floating_point(_ops(found), QUANTIZED)], notes)


def simplify(model: Any) -> None:
    """Join what belongs together, in place, so that NNCF knows a bias for a bias and the weights of a depthwise layer for weights.

    As it comes from ONNX, a bias stands behind a shape that is computed from the size of the image, and a ReLU6 is two operations. In fp32
    the answers stay the same, bit for bit.
    """
    transformations: Any = import_module("openvino._offline_transformations")
    transformations.apply_moc_transformations(model, cf=True)


def _arrays(answer: Any) -> list[np.ndarray]:
    """Return what a compiled model answers, in its order; its own memory is used again."""
    return [np.array(answer[index]) for index in range(len(answer))]


def _ops(model: Any) -> list[Op]:
    """Return the operations of a model, in the order of computing."""
    found = []
    for op in model.get_ordered_ops():
        sources = tuple(value.get_node().get_friendly_name() for value in op.input_values())
        found.append(Op(op.get_friendly_name(), op.get_type_name(), sources))
    return found
