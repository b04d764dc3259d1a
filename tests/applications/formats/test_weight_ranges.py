"""Ranges of weights: each channel's own, and nothing of NNCF changed for good."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest

from applications.formats.int8 import quiet
from applications.formats.weight_ranges import LEAST_SHARE, own_ranges

pytestmark = pytest.mark.slow
LARGEST = (4000.0, 1.0, 0.0)


@pytest.fixture
def algorithm() -> Any:
    pytest.importorskip("nncf")
    with quiet():
        return import_module("nncf.quantization.algorithms.min_max.algorithm")


def upper_ends(algorithm: Any, group: Any) -> list[float]:
    """Return what NNCF makes of the largest values of three channels."""
    structs: Any = import_module("nncf.common.quantization.structs")
    statistics: Any = import_module("nncf.common.tensor_statistics.statistics")
    largest = import_module("nncf.tensor").Tensor(np.array(LARGEST, dtype=np.float32).reshape(3, 1))
    config = structs.QuantizerConfig(per_channel=True, signedness_to_force=True)
    found = algorithm.calculate_quantizer_parameters(statistics.MinMaxTensorStatistic(-largest, largest), config, group)
    return found.input_high.data.flatten().tolist()


def test_each_channel_of_a_weight_has_its_own_range(algorithm: Any) -> None:
    with own_ranges():
        assert upper_ends(algorithm, algorithm.QuantizerGroup.WEIGHTS) == pytest.approx([4000, 1, 4000 * LEAST_SHARE])


def test_ranges_of_activations_are_those_of_nncf(algorithm: Any) -> None:
    before = upper_ends(algorithm, algorithm.QuantizerGroup.ACTIVATIONS)
    with own_ranges():
        assert upper_ends(algorithm, algorithm.QuantizerGroup.ACTIVATIONS) == before


def test_nncf_is_left_as_it_was(algorithm: Any) -> None:
    before = upper_ends(algorithm, algorithm.QuantizerGroup.WEIGHTS)
    with pytest.raises(RuntimeError), own_ranges():
        raise RuntimeError
    assert upper_ends(algorithm, algorithm.QuantizerGroup.WEIGHTS) == before
