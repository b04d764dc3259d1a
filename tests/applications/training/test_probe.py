"""--probe: a model like any other, from features that are computed once."""

from pathlib import Path

import pytest

from applications.training import features
from tests.applications.conftest import Call, read_rows

SMALL = ("--arch", "mobilenetv3_small", "--image_size", 32, 32, "-j", 0)


@pytest.fixture
def weights(call: Call, colors: Path) -> Path:
    """Return a checkpoint of a short training, whose weights are to be probed."""
    return call("--data", colors, *SMALL, "--epochs", 1, "--warmup", 0, "-b", 20, "--name", "start").run / "best.pt"


@pytest.mark.slow
def test_a_probe_is_a_model_that_other_verbs_read_and_its_features_are_computed_once(
    call: Call, colors: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "cache_folder", lambda: tmp_path / "cache")
    flags = ("--probe", "--data", colors, *SMALL, "--init_from", weights)
    untold = call("--data", colors, *SMALL, "--init_from", weights, "--epochs", 1, "--warmup", 0)
    assert "the same command with --probe says" in untold.out
    assert "often the better model" in untold.out
    first = call(*flags)
    assert first.code == 0, first.err
    assert "75 images in" in first.out
    assert " 0 of them known before" in first.out
    (row,) = read_rows(first.run / "metrics.csv")
    reached = float(row["val_top1"])
    assert reached > 0.6
    evaluated = call("--evaluation", "--resume", first.run, "--split", "val", "--no_report")
    assert evaluated.code == 0, evaluated.err
    assert f"{reached:.1%}" in evaluated.out or f"{reached:.2%}" in evaluated.out
    again = call(*flags)
    assert "75 of them known before" in again.out
    assert read_rows(again.run / "metrics.csv") == [row], "kept features are those that were computed"
    told = call("--data", colors, *SMALL, "--init_from", weights, "--epochs", 1, "--warmup", 0)
    assert f"a linear probe of the starting weights gives val top1 {reached:.1%}" in told.out
    measured = call("--evaluation", "--resume", told.run, "--split", "val", "--no_report")
    assert f"a linear probe of the starting weights gives val top1 {reached:.1%}" in measured.out


def test_a_probe_without_weights_is_refused(call: Call, colors: Path) -> None:
    outcome = call("--probe", "--data", colors, *SMALL)
    assert outcome.code == 2
    assert "add --pretrained, or --init_from FILE" in outcome.err
    resumed = call("--probe", "--data", colors, *SMALL, "--resume", "run")
    assert (resumed.code, "--resume" in resumed.err) == (2, True)
    unused = call("--probe", "--data", colors, "--lr", 0.1)
    assert (unused.code, "--lr" in unused.err) == (2, True)
