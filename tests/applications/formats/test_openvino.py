"""OpenVINO's files: compiled as they are asked, and right for one image in 8 bits."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from applications.formats.facts import Facts
from applications.formats.int8 import quiet
from applications.formats.openvino import ENTRY, OpenVino, for_one_image, judged_alone, simplify
from dataloader.images.preprocess import Preprocess
from demos.classifier import Classifier
from tests.applications.formats.conftest import CLASSES, Written

openvino: Any = pytest.importorskip("openvino")
ops: Any = pytest.importorskip("openvino.opset13")
Ask = Callable[[np.ndarray], np.ndarray]


def open_as_program(path: Path) -> Ask:
    opened = OpenVino().open(path, threads=1)
    return lambda images: opened.run(images)[0]


def open_as_demo(path: Path) -> Ask:
    classifier = Classifier(str(path), threads=1)
    return lambda images: classifier.predict_batch(list(images.transpose(0, 2, 3, 1)))


OPENERS = [open_as_program, open_as_demo]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Return a list that grows by the shape of the input, -1: any length, of every model that is compiled."""
    shapes, compiling = [], openvino.Core.compile_model

    def compile_model(self: Any, model: Any, *others: Any) -> Any:
        shapes.append(tuple(-1 if each.is_dynamic else each.get_length() for each in model.input(0).get_partial_shape()))
        return compiling(self, model, *others)

    monkeypatch.setattr(openvino.Core, "compile_model", compile_model)
    return shapes


def noise(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (count, 3, height, width), dtype=np.uint8)


@pytest.mark.parametrize("opening", OPENERS)
def test_only_what_is_asked_is_compiled(opening: Callable[[Path], Ask], written: Written, compiled: list[tuple[int, ...]]) -> None:
    ask = opening(written("openvino").path)
    assert compiled == []
    for _ in range(2):
        ask(noise(1, 40, 30))
    assert compiled == [(1, 3, 40, 30)]
    for size in ((31, 77), (9, 5), (40, 30)):
        ask(noise(1, *size))
    assert compiled[1:] == [(1, 3, -1, -1)], "one for all sizes, and the first is not compiled again"
    for count in (2, 3):
        ask(noise(count, 40, 30))
    assert compiled[2:] == [(-1, 3, -1, -1)]


@pytest.mark.parametrize("opening", OPENERS)
def test_a_file_without_geometry_keeps_its_size(opening: Callable[[Path], Ask], written: Written, compiled: list[tuple[int, ...]]) -> None:
    ask = opening(written("openvino", any_size=False).path)
    ask(noise(1, 24, 16))
    assert compiled == [(1, 3, 24, 16)]
    if opening is open_as_program:
        with pytest.raises(RuntimeError):
            ask(noise(1, 48, 16))


def rounded(value: Any, low: Any, high: Any, levels: int = 256) -> Any:
    """Return values as 8 bits hold them."""
    ends = [np.asarray(end, dtype=np.float32) for end in (low, high, low, high)]
    return ops.fake_quantize(value, *ends, levels)


def single_pixel_network(path: Path) -> None:
    """Write the smallest network that OpenVINO's CPU plugin answers wrongly for one image, unless its batch is fixed (seen with AVX-512).

    On a map of one pixel, what a convolution with a bias gives is rounded with a range for each channel, and a depthwise one reads it.
    """
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> Any:
        values = rng.normal(0, 0.3, shape).astype(np.float32)
        most = np.abs(values).max(axis=tuple(range(1, len(shape))), keepdims=True)
        return rounded(ops.constant(values), -most, most, 255)

    images = ops.parameter([-1, 3, -1, -1], np.uint8, name="images")
    x = ops.reduce_mean(ops.convert(images, np.float32), np.array([2, 3]), True)
    x = rounded(ops.divide(x, np.float32(64)), 0, 4)
    x = ops.convolution(x, weight(16, 3, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])
    x = ops.add(x, rng.normal(0, 0.1, (1, 16, 1, 1)).astype(np.float32))
    x = rounded(ops.relu(x), np.zeros((1, 16, 1, 1)), rng.uniform(1, 6, (1, 16, 1, 1)))
    x = ops.group_convolution(x, weight(16, 1, 1, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1])
    x = ops.convolution(x, ops.constant(rng.normal(0, 1, (3, 16, 1, 1)).astype(np.float32)), [1, 1], [0, 0], [0, 0], [1, 1])
    model = openvino.Model([ops.softmax(ops.reshape(x, np.array([-1, 3]), False), 1)], [images])
    model.set_rt_info(Facts("pixel", "classify", CLASSES, Preprocess((8, 8)), "softmax", exported_as="openvino").to_json(), [ENTRY])
    openvino.save_model(model, str(path), compress_to_fp16=False)


@pytest.mark.parametrize("opening", OPENERS)
def test_one_image_alone_is_answered_as_among_others_where_maps_of_8_bits_are_a_single_pixel(
    opening: Callable[[Path], Ask], tmp_path: Path
) -> None:
    path = tmp_path / "model.xml"
    single_pixel_network(path)
    ask = opening(path)
    for size in ((8, 8), (9, 7), (5, 12)):
        images = noise(4, *size) // np.arange(1, 5, dtype=np.uint8)[:, None, None, None]
        alone = np.concatenate([ask(images[index : index + 1]) for index in range(4)])
        np.testing.assert_allclose(alone, ask(images), atol=1e-4)


def test_for_one_image_of_any_size_the_network_has_fixed_sizes(written: Written) -> None:
    core = openvino.Core()
    model = core.read_model(str(written("openvino").path))
    # As in files of 8 bits, in whose graphs the plugin finds fewer sizes.
    simplify(model)
    for op in model.get_ordered_ops():
        for place in (0, 1) if op.get_type_name() == "Convolution" else ():
            op.input(place).replace_source_output(rounded(op.input_value(place), -2, 2).output(0))
    graph = core.compile_model(for_one_image(model), "CPU").get_runtime_model().get_ordered_ops()
    convolutions = [op for op in graph if op.get_rt_info()["layerType"].astype(str) == "Convolution"]
    assert len(convolutions) >= 2
    assert all(op.output(0).get_partial_shape().is_static for op in convolutions)


@pytest.mark.slow
def test_nncf_judges_by_what_one_image_alone_is_answered(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    path = tmp_path / "model.xml"
    single_pixel_network(path)
    model = openvino.Core().read_model(str(path))
    with quiet(), judged_alone():
        prepared: Any = importlib.import_module("nncf.quantization.algorithms.accuracy_control.openvino_backend").OVPreparedModel
        judged = prepared(model).model_for_inference
    images = noise(4, 8, 8) // np.arange(1, 5, dtype=np.uint8)[:, None, None, None]
    alone = np.concatenate([judged(images[index : index + 1])[0] for index in range(4)])
    np.testing.assert_allclose(alone, open_as_program(path)(images), atol=1e-4)
