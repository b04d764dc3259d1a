"""A change that is to change no figure changes none: detectors give the stored scores."""

import pytest

from tests.golden.anomaly_recorder import DETECTORS, compute, rounding, stored


@pytest.mark.parametrize("arch", DETECTORS)
def test_detectors_give_the_stored_scores(arch: str) -> None:
    expected, found = stored(), compute(arch)
    # Other CPUs round otherwise, and near choices of a coreset may turn.
    tolerance = 1e-4 if expected["rounding"] == rounding() else 5e-2
    golden = expected["detectors"][arch]
    assert found.keys() == golden.keys()
    for name, values in golden.items():
        assert found[name] == pytest.approx(values, rel=tolerance, abs=tolerance), name


@pytest.mark.parametrize("arch", DETECTORS)
def test_the_stored_scores_tell_defects_from_good_pieces(arch: str) -> None:
    golden = stored()["detectors"][arch]
    assert max(golden["good"]) < min(min(golden["hole"]), min(golden["stain"]))
