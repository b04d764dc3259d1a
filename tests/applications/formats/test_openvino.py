"""OpenVINO: what is done to a graph before it is quantized."""

from typing import Any

import pytest

from applications.formats.int8 import layers
from applications.formats.openvino import fold, operations
from tests.applications.formats.conftest import Written


def test_biases_are_stored_as_they_are_added(written: Written) -> None:
    openvino: Any = pytest.importorskip("openvino")
    model = openvino.Core().read_model(str(written("openvino").path))

    def stored() -> list[str]:
        kinds, found = {op.name: op.kind for op in operations(model)}, operations(model)
        names = {op.name for op in layers(found) if op.kind == "Convolution"}
        return [kinds[each] for op in found if op.kind == "Add" and names & set(op.sources) for each in op.sources if each not in names]

    assert stored() == ["Reshape", "Reshape"], "turned while the file is used, as NNCF does not expect"
    fold(model)
    assert stored() == ["Constant", "Constant"]
