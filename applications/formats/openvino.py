"""OpenVINO: a graph (.xml) and its weights (.bin), for processors and graphics of Intel, and other CPUs."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
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
# The shape of one image of any size.
ANY_SIZE = (1, -1, -1, -1)


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
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise self.damaged(path) from error

        compiled = Compiled(lambda each: core.compile_model(each, "CPU", settings), model)
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

        found, notes = quantize(model, _ops(model), calibration, answering, names=names, around=judged_alone())
        found.set_rt_info(facts, [ENTRY])
        # The file that was read may still be mapped into memory.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".int8.") as folder:
            between = Path(folder) / path.name
            openvino.save_model(found, str(between), compress_to_fp16=False)
            del model
            for file in sorted(Path(folder).iterdir()):
                file.replace(path.with_name(file.name))
        return Quantized([names.get(name, name) for name in in_floating_point(_ops(found), QUANTIZED)], notes)


class Compiled:
    """A model that is compiled as it is asked: for several images at a time, and for one, each when it is first asked so.

    For one image its size is fixed, too, as long as all have the same: that compiles faster, and what the geometry computes of the
    size is computed once. The first image of another size has a graph for any size compiled in its place.

    Args:
        compiling: makes a compiled model of a model.
        model: the model as it was read.
    """

    def __init__(self, compiling: Callable[[Any], Any], model: Any) -> None:
        self._compiling = compiling
        self._model = model
        self._several: Any = None
        self._alone: Any = None
        self._shape: tuple[int, ...] = ()

    def __call__(self, images: np.ndarray) -> Any:
        """Return what the model outputs for images uint8 (N, C, h, w)."""
        if len(images) != 1:
            if self._several is None:
                self._several = self._compiling(self._model)
            return self._several(images, share_outputs=True)
        if self._shape not in (images.shape, ANY_SIZE):
            self._shape = ANY_SIZE if self._shape else images.shape
            self._alone = self._compiling(for_one_image(self._model, self._shape))
        return self._alone(images, share_outputs=True)


def for_one_image(model: Any, shape: Sequence[int] = ANY_SIZE) -> Any:
    """Return a copy of a model for one image at a time.

    With a batch of any length the CPU plugin finds the sizes of all maps again for every image, and answers wrongly to one image where
    maps of a single pixel are rounded to 8 bits with a range for each channel. Behind the geometry the sizes are fixed, whatever that
    of the image, but the plugin loses them in what the geometry computes of it: so they are written down.

    Args:
        model: that takes images (N, C, h, w).
        shape: of the images, where the model takes any; -1: left open.
    """
    constant: Any = import_module("openvino.op").Constant
    alone = model.clone()
    taken = alone.input(0).get_partial_shape()
    for axis, length in enumerate(shape):
        if taken[axis].is_dynamic:
            taken[axis] = length
    alone.reshape(taken)
    for op in alone.get_ordered_ops():
        if op.get_type_name() == "Reshape" and op.output(0).get_partial_shape().is_static:
            op.input(1).replace_source_output(constant(np.array(op.output(0).get_shape(), dtype=np.int64)).output(0))
    return alone


@contextlib.contextmanager
def judged_alone() -> Iterator[None]:
    """Let NNCF, which asks about one image at a time, compile for that."""
    backend: Any = import_module("nncf.quantization.algorithms.accuracy_control.openvino_backend")
    runtime = backend.ov

    def compile_model(model: Any, **settings: Any) -> Any:
        return runtime.compile_model(for_one_image(model), **settings)

    backend.ov = SimpleNamespace(compile_model=compile_model)
    try:
        yield
    finally:
        backend.ov = runtime


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
