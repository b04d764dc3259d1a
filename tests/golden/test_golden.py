"""A change that is to change no figure changes none: training computes the stored losses."""

from pathlib import Path

import pytest

from tests.golden.recorder import CONFIGURATIONS, compute, prepare, rounding, stored

STEPS, TOLERANCE = 20, 1e-5
# Steps whose losses are the same on every CPU. A difference in the last bit grows a thousandfold where it turns a choice: which places
# answer for an object, whether a value passes a ReLU.
ANYWHERE = {name: 2 if name in ("segment", "detect") else 5 for name in CONFIGURATIONS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("golden")
    prepare(place)
    return place


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_training_computes_the_stored_losses(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    expected = stored()
    if name == "distill" and not (folder / "runs/classify/classify").is_dir():
        compute("classify", folder)
    found = compute(name, folder)
    golden = expected["configurations"][name]
    assert len(found["losses"]) == len(golden["losses"]) == STEPS
    rounds_alike = expected["rounding"] == rounding()
    steps = STEPS if rounds_alike else ANYWHERE[name]
    assert found["losses"][:steps] == pytest.approx(golden["losses"][:steps], rel=TOLERANCE, abs=TOLERANCE)
    for now, before in zip(found["epochs"], golden["epochs"], strict=True):
        assert now == pytest.approx(before, rel=TOLERANCE, abs=TOLERANCE) if rounds_alike else now.keys() == before.keys()
