"""Quantization: the network in 8 bits, all around it untouched, and what costs accuracy turned back."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from applications.formats import FORMATS, bias_correction, build_format
from applications.formats.format import WriteSettings
from applications.formats.int8 import LARGE, Judge, Op, QuantizationData, Quantized, in_floating_point, layer_names, layers, outside_network
from models.backbone import Backbone
from models.fake_quantization import FakeQuantized, fake_quantize
from tests.applications.formats.conftest import PREPROCESS, parts_for
from tests.applications.map_net import MapNet

QUANTIZED = [name for name in FORMATS if build_format(name).holds.int8]

# Resizing by a computed matrix, normalization, two layers, softmax.
GRAPH = (
    Op("images", "Parameter"),
    Op("mean", "Constant"),
    Op("net.stem.weight", "Constant"),
    Op("net.head.weight", "Constant"),
    Op("turned", "Transpose", ("net.head.weight",)),
    Op("size", "Shape", ("images",)),
    Op("resized", "MatMul", ("size", "images")),
    Op("normalized", "Sub", ("resized", "mean")),
    Op("stem", "Conv", ("normalized", "net.stem.weight")),
    Op("act", "Relu", ("stem",)),
    Op("head", "MatMul", ("act", "turned")),
    Op("probabilities", "Softmax", ("head",)),
)


def test_geometry_normalization_and_probabilities_are_outside_of_the_network() -> None:
    assert [op.name for op in layers(GRAPH)] == ["stem", "head"], "the geometry multiplies, too, but stores no weights"
    assert outside_network(GRAPH, layer_names(GRAPH)) == ["size", "resized", "normalized", "probabilities"]
    assert layer_names(GRAPH) == {"stem": "stem", "head": "head"}


def test_a_layer_whose_weights_are_not_quantized_is_in_floating_point() -> None:
    quantizers = frozenset({"FakeQuantize"})
    quantized = [replace(op, kind="FakeQuantize") if op.name == "turned" else op for op in GRAPH]
    assert in_floating_point(quantized, quantizers) == ["stem"]
    assert in_floating_point(GRAPH, quantizers) == ["stem", "head"]


def calibration_by(images: Sequence[np.ndarray], figure: Callable[[Sequence[int], np.ndarray], float], max_drop: float) -> QuantizationData:
    """Return a calibration of files that answer probabilities."""
    return QuantizationData(
        images, images, lambda outputs: outputs[0], figure, lambda one, other: float(np.abs(one - other).sum()), max_drop
    )


def test_only_the_named_part_of_a_network_is_quantized() -> None:
    assert layer_names(GRAPH).keys() & outside_network(GRAPH, layer_names(GRAPH), "stem") == {"head"}
    assert {"act", "probabilities"} <= set(outside_network(GRAPH, layer_names(GRAPH), "stem"))


def test_accuracy_judges_all_images_and_the_movement_of_answers_a_part_of_them() -> None:
    images = [np.full((1, 3, 1, 1), value, dtype=np.uint8) for value in (1, 2, 3)]
    calibration = calibration_by(images, lambda positions, rows: float(len(positions) + rows.sum()), 0.1)
    judge = Judge(calibration, lambda factor: lambda image: [np.array([[factor * float(image[0, 0, 0, 0])]])])
    assert judge(1.0, [0]) == (2.0, None), "nothing to compare with yet"
    assert judge(1.0, [0, 1, 2]) == (9.0, [0.0, 0.0, 0.0])
    assert judge(2.0, [0, 1, 2]) == (15.0, [-1.0, -2.0, -3.0])
    assert judge(2.0, [0, 2]) == (-2.0, [-1.0, -3.0])


def always(positions: Sequence[int], answers: np.ndarray) -> float:
    """Say that nothing is lost."""
    return float(len(positions) > 0 and len(answers) > 0)


def written(name: str, net: Backbone, folder: Path, figure=always, *, max_drop: float = 0.5, count: int = 6) -> tuple[Path, Quantized]:
    found = build_format(name)
    deployed, facts = parts_for(found, net)
    path = folder / f"model{found.suffix}"
    found.write(deployed, path, facts, WriteSettings())
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (1, 3, *PREPROCESS.image_size), dtype=np.uint8) for _ in range(count)]
    return path, found.quantize(path, calibration_by(images, figure, max_drop))


@pytest.mark.slow
@pytest.mark.parametrize("name", QUANTIZED)
def test_a_quantized_file_keeps_its_facts_its_geometry_and_almost_its_answers(name: str, map_net: Backbone, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    found = build_format(name)
    path, quantized = written(name, map_net, tmp_path)
    assert quantized == ([], [])
    deployed, facts = parts_for(found, map_net)
    opened = found.open(path, threads=1)
    assert opened.facts == facts
    # Another size than that of calibration, so that the geometry counts.
    images = torch.randint(0, 256, (2, 3, 40, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    expected = dict(deployed.stages(images))["answers"].numpy()
    difference = np.abs(opened.run(images.numpy())[0] - expected)
    assert 0 < difference.max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", QUANTIZED)
def test_one_channel_of_large_weights_does_not_cost_the_others_their_steps(name: str, map_net: Backbone, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    net = copy.deepcopy(map_net)
    first = net.get_submodule("first")
    with torch.no_grad():
        # Too low to be ever above zero, whatever the image.
        first.get_parameter("weight")[0] = 1e3
        first.get_parameter("bias")[0] = -1e6
    path, quantized = written(name, net, tmp_path)
    assert quantized == ([], [])
    deployed, _ = parts_for(build_format(name), net)
    images = torch.randint(0, 256, (4, 3, 24, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    expected = dict(deployed.stages(images))["answers"].numpy()
    assert np.abs(build_format(name).open(path, threads=1).run(images.numpy())[0] - expected).max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", QUANTIZED)
def test_layers_that_cost_accuracy_are_turned_back_and_named(name: str, map_net: Backbone, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    first: list[np.ndarray] = []

    def figure(positions: Sequence[int], probabilities: np.ndarray) -> float:
        if len(positions) < 6:
            return 1.0
        first.append(probabilities)
        # The first answers are those of the model itself; any other answer costs.
        return 1.0 - float(np.abs(probabilities - first[0]).max() > 1e-6)

    _, (kept, _) = written(name, map_net, tmp_path, figure, max_drop=0.1)
    assert kept
    assert set(kept) <= {"first", "second", "head"}


@pytest.mark.slow
@pytest.mark.parametrize("name", QUANTIZED)
def test_biases_take_up_what_weights_lose_by_rounding(name: str, map_net: Backbone, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    net = copy.deepcopy(map_net)
    with torch.no_grad():
        # Beside a large one, all others are less than half a step of 8 bits, and become 0.
        weight = net.get_submodule("second").get_parameter("weight")
        weight.fill_(0.003)
        weight[:, 0, 1, 1] = 1.0
    images = torch.randint(0, 256, (16, 3, *PREPROCESS.image_size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))

    def features(net: Backbone) -> np.ndarray:
        with torch.no_grad():
            return parts_for(build_format(name), net)[0].answering(images)[1].numpy()

    expected = features(net)
    path, quantized = written(name, net, tmp_path, count=20)
    assert quantized == ([], [])
    told = build_format(name).open(path, threads=1).run(images.numpy())[1]
    with torch.no_grad():
        weight[weight == 0.003] = 0.0
    lost = np.abs((features(net) - expected).mean(0)).mean()
    assert np.abs((told - expected).mean(0)).mean() < 0.3 * lost


@pytest.mark.slow
def test_images_that_take_too_much_memory_are_corrected_the_fast_way(
    map_net: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nncf")
    monkeypatch.setattr(bias_correction, "MOST_PIXELS", 0)
    _, quantized = written("onnx", map_net, tmp_path)
    assert quantized == ([], [LARGE])


class Forked(MapNet):
    """Two convolutions read one map."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.third = nn.Conv2d(8, 12, 1, stride=2)

    def forward_features(self, x: Tensor) -> list[Tensor]:
        first = self.first(x).relu()
        return [first, (self.second(first) + self.third(first)).relu()]


@pytest.mark.slow
@pytest.mark.parametrize("name", QUANTIZED)
def test_biases_of_layers_that_read_one_value_are_corrected(name: str, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    torch.manual_seed(0)
    _, quantized = written(name, Forked(3).eval(), tmp_path)
    assert quantized == ([], [])


class SinglePixel(MapNet):
    """A depthwise convolution reads a map of one pixel, as the last ones of a network on small images do."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.second = nn.Conv2d(8, 12, 1)
        self.third = nn.Conv2d(12, 12, 3, padding=1, groups=12)

    def forward_features(self, x: Tensor) -> list[Tensor]:
        first = self.first(x).relu()
        return [first, 50 * self.third(self.second(first.mean((2, 3), keepdim=True)).relu())]


@pytest.mark.slow
@pytest.mark.parametrize("name", QUANTIZED)
def test_one_image_alone_is_answered_as_in_a_batch_where_maps_are_a_single_pixel(name: str, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    torch.manual_seed(0)
    path, _ = written(name, SinglePixel(3).eval(), tmp_path)
    run = build_format(name).open(path, threads=1).run
    for size in ((24, 16), (40, 30)):
        images = torch.randint(0, 256, (4, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)).numpy()
        alone = np.concatenate([run(images[index : index + 1])[0] for index in range(4)])
        np.testing.assert_allclose(alone, run(images)[0], atol=1e-4)


@pytest.mark.slow
def test_layers_that_round_while_training_have_the_weights_of_the_file(map_net: Backbone, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    onnx: Any = pytest.importorskip("onnx")
    path, _ = written("onnx", map_net, tmp_path)
    graph = onnx.load(str(path)).graph
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    net = copy.deepcopy(map_net)
    assert fake_quantize(net, PREPROCESS.image_size).layers == 3
    expected = [layer.weight.detach().numpy() for layer in net.modules() if isinstance(layer, FakeQuantized)]
    found = 0
    for node in graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in stored or stored[node.input[0]].ndim < 2:
            continue
        numbers, scale = stored[node.input[0]].astype(np.float32), stored[node.input[1]]
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        scale = scale.reshape([-1 if place == axis % numbers.ndim else 1 for place in range(numbers.ndim)]) if scale.ndim else scale
        weight = numbers * scale
        same = [other for other in expected if other.shape in (weight.shape, weight.T.shape)]
        shares = [np.isclose(weight if other.shape == weight.shape else weight.T, other, atol=1e-6).mean() for other in same]
        # Of the first layer the largest weight of a channel lies between two steps.
        assert max(shares) > 0.95, node.name
        found += 1
    assert found == 3
