"""Post-training quantization to 8-bit integers, for the formats whose graphs NNCF reads.

Layers are turned back into floating point, the most harmful first, until the accuracy on validation images is kept. Geometry and
normalization are exact in 32 bits, and stay as they are.
"""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from applications.formats.bias_correction import can_be_exact
from applications.formats.package import Package
from applications.formats.weight_ranges import own_ranges

TO_QUANTIZE = Package("nncf", "nncf", 15)
# Name of the one input of exported files.
INPUT = "images"
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Convolution", "GroupConvolution", "ConvolutionBackpropData"})
# Layers that may be turned back, and images by which they are ranked: both bound the time.
MOST_RESTORED = 12
RANKING_IMAGES = 64
ROUGHLY = "biases are corrected for what rounding moves by NNCF's fast way, which keeps fewer labels"
LARGE = f"{ROUGHLY}: images of this size take too much memory for the exact one; fewer --int8_images leave it room"

# One image, uint8 (1, 3, h, w) -> the outputs of the file.
Answer = Callable[[np.ndarray], Sequence[np.ndarray]]


@dataclass(frozen=True)
class QuantizationData:
    """What quantization learns from.

    Attributes:
        images: of training, uint8 (1, 3, h, w) at the network's own size; they choose the ranges of values.
        held_out: of validation, likewise; they tell what accuracy is lost.
        joined: the outputs of a file for N images -> their answers (N, ...).
        figure: (positions in `held_out`, answers (N, ...)) -> accuracy, or what takes its place, as a share.
        distance: (answer, that of the model) -> how far it has moved.
        max_drop: how much of the figure may be lost.
        part: beginning of the names of the layers that may be quantized; '' for all.
    """

    images: Sequence[np.ndarray]
    held_out: Sequence[np.ndarray]
    joined: Callable[[Sequence[np.ndarray]], np.ndarray]
    figure: Callable[[Sequence[int], np.ndarray], float]
    distance: Callable[[np.ndarray, np.ndarray], float]
    max_drop: float
    part: str = ""


class Quantized(NamedTuple):
    """What became of a file of 8 bits.

    Attributes:
        floating: layers that stay in floating point.
        notes: what the user should know.
    """

    floating: list[str]
    notes: list[str]


@dataclass(frozen=True)
class Op:
    """An operation of a graph.

    Attributes:
        name: in the graph.
        kind: of operation; 'Constant' for stored values, 'Parameter' for inputs.
        sources: names of the operations whose outputs it reads, in order.
    """

    name: str
    kind: str
    sources: tuple[str, ...] = ()


def constants(ops: Sequence[Op]) -> frozenset[str]:
    """Return the operations, in the order of computing, that depend on no input."""
    found: set[str] = set()
    for op in ops:
        if op.kind == "Constant" or (op.sources and all(source in found for source in op.sources)):
            found.add(op.name)
    return frozenset(found)


def layers(ops: Sequence[Op]) -> list[Op]:
    """Return the operations that multiply something computed with stored weights."""
    fixed = constants(ops)
    return [op for op in ops if op.kind in WEIGHTED and op.name not in fixed and any(source in fixed for source in op.sources)]


def outside_network(ops: Sequence[Op], names: Mapping[str, str], part: str = "") -> list[str]:
    """Return what is not between the first and the last layer: geometry and normalization before, probabilities behind.

    Args:
        ops: of the graph.
        names: operation -> layer, as `layer_names` gives them.
        part: beginning of the names of the layers that count.
    """
    fixed, weighted = constants(ops), {op.name for op in layers(ops) if names.get(op.name, op.name).startswith(part)}
    behind, before = set(weighted), set(weighted)
    for op in ops:
        if any(source in behind for source in op.sources):
            behind.add(op.name)
    for op in reversed(ops):
        if op.name in before:
            before.update(op.sources)
    return [op.name for op in ops if op.name not in fixed and op.kind != "Parameter" and not (op.name in behind and op.name in before)]


def layer_names(ops: Sequence[Op]) -> dict[str, str]:
    """Return operation -> what the network calls the layer, by the names of its weights; the operation's own name where they have none."""
    by_name, fixed = {op.name: op for op in ops}, constants(ops)
    names = {}
    for op in layers(ops):
        stored = next((source for source in _behind(op, by_name, fixed) if ".weight" in source), None)
        names[op.name] = op.name if stored is None else stored.partition(".weight")[0].rpartition("core.")[2].removeprefix("net.")
    return names


def _behind(op: Op, by_name: Mapping[str, Op], fixed: frozenset[str]) -> Iterator[str]:
    for source in op.sources:
        if source in fixed:
            yield source
            if source in by_name:
                yield from _behind(by_name[source], by_name, fixed)


def in_floating_point(ops: Sequence[Op], quantizers: frozenset[str]) -> list[str]:
    """Return the layers of a quantized graph whose weights come through none of these kinds of operations."""
    by_name, fixed = {op.name: op for op in ops}, constants(ops)
    return [op.name for op in layers(ops) if not any(by_name[name].kind in quantizers for name in _behind(op, by_name, fixed))]


class Judge:
    """Says how good a model is: by accuracy on all images, and on a part of them, by which layers are ranked, by how far answers moved.

    Args:
        calibration: the images.
        answering: makes the model that NNCF hands over answer.
    """

    def __init__(self, calibration: QuantizationData, answering: Callable[[Any], Answer]) -> None:
        self._calibration = calibration
        self._answering = answering
        self._expected: list[np.ndarray] = []

    def __call__(self, asked: Any, items: Iterable[int]) -> tuple[float, list[float] | None]:
        """Return the figure, the higher the better, and likewise one of each image; `items` are positions."""
        answer, positions = self._answering(asked), list(items)
        rows = [self._calibration.joined(answer(self._calibration.held_out[position])) for position in positions]
        everything = len(positions) == len(self._calibration.held_out)
        if everything and not self._expected:
            # The model itself is asked first.
            self._expected = rows
        figure = self._calibration.figure(positions, np.concatenate(rows))
        if not self._expected:
            return figure, None
        pairs = ((row[0], self._expected[position][0]) for position, row in zip(positions, rows, strict=True))
        moved = [-self._calibration.distance(*pair) for pair in pairs]
        return (figure if everything else float(np.mean(moved))), moved


def quantize(
    model: Any,
    ops: Sequence[Op],
    calibration: QuantizationData,
    answering: Callable[[Any], Answer],
    *,
    names: Mapping[str, str],
    per_channel: bool = True,
    around: contextlib.AbstractContextManager[None] | None = None,
) -> tuple[Any, list[str]]:
    """Return the quantized model, and what the user should know.

    Args:
        model: of onnx or openvino.
        ops: its operations, in the order of computing.
        calibration: images, what may be lost, and of which layers.
        answering: makes the model that NNCF hands over answer.
        names: operation -> layer, as `layer_names` gives them.
        per_channel: the runtime knows ranges of single channels before depthwise convolutions, not of weights alone.
        around: what NNCF needs for this kind of graph; entered once.
    """
    outside = outside_network(ops, names, calibration.part)
    with quiet(), own_ranges(), around or contextlib.nullcontext():
        if not can_be_exact(calibration.images):
            return _quantize(model, outside, calibration, answering, exact=False, per_channel=per_channel), [LARGE]
        try:
            return _quantize(model, outside, calibration, answering, exact=True, per_channel=per_channel), []
        except Exception as error:
            note = f"{ROUGHLY}: the exact one fails in this graph ({error!r:.160})"
        return _quantize(model, outside, calibration, answering, exact=False, per_channel=per_channel), [note]


def _quantize(
    model: Any, outside: list[str], calibration: QuantizationData, answering: Callable[[Any], Answer], *, exact: bool, per_channel: bool
) -> Any:
    nncf: Any = import_module("nncf")
    finer: Any = import_module("nncf.quantization.advanced_parameters")
    advanced = finer.AdvancedQuantizationParameters()
    if not per_channel:
        advanced.activations_quantization_params = finer.QuantizationParameters(per_channel=False)
    numbered = list(range(len(calibration.held_out)))
    return nncf.quantize_with_accuracy_control(
        model,
        nncf.Dataset(list(calibration.images), lambda image: {INPUT: image}),
        nncf.Dataset(numbered, lambda index: {INPUT: calibration.held_out[index]}),
        validation_fn=Judge(calibration, answering),
        max_drop=calibration.max_drop,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(calibration.images),
        fast_bias_correction=not exact,
        ignored_scope=nncf.IgnoredScope(names=outside, validate=False),
        advanced_quantization_parameters=advanced,
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
            max_num_iterations=MOST_RESTORED, ranking_subset_size=min(RANKING_IMAGES, max(1, len(numbered) // 2))
        ),
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep NNCF from telling every step, and from reporting to its authors."""
    before = os.environ.get("NNCF_CI")
    os.environ["NNCF_CI"] = "1"
    logger = logging.getLogger("nncf")
    level = logger.level
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            import_module("nncf")
            logger.setLevel(logging.ERROR)
            yield
    finally:
        logger.setLevel(level)
        if before is None:
            del os.environ["NNCF_CI"]
        else:
            os.environ["NNCF_CI"] = before
