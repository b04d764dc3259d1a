"""A change that is to change no figure changes none: training computes the stored losses."""

from pathlib import Path

import pytest

from tests.golden.recorder import CONFIGURATIONS, compute, instructions, prepare, stored

STEPS = 20


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
    # Other instructions round otherwise, and twenty steps carry that on.
    tolerance = 1e-5 if expected["instructions"] == instructions() else 2e-2
    golden = expected["configurations"][name]
    assert len(golden["losses"]) == STEPS
    assert found["losses"] == pytest.approx(golden["losses"], rel=tolerance, abs=tolerance)
    for now, before in zip(found["epochs"], golden["epochs"], strict=True):
        assert now == pytest.approx(before, rel=tolerance, abs=tolerance)
