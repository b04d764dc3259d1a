"""--probe: a model like any other, from features that are computed once."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from applications.training import probe
from models import build_model
from tests.applications.conftest import Call, read_rows
from utils.errors import UserError

SMALL = ("--arch", "mobilenetv3_small", "--image_size", 32, 32, "-j", 0)


@pytest.fixture
def weights(call: Call, colors: Path) -> Path:
    """Return a checkpoint of a short training, whose weights are to be probed."""
    return call("--data", colors, *SMALL, "--epochs", 1, "--warmup", 0, "-b", 20, "--name", "start").run / "best.pt"


@pytest.mark.slow
def test_a_probe_is_a_model_that_other_verbs_read_and_its_features_are_computed_once(
    call: Call, colors: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
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
    told = call("--data", colors, *SMALL, "--init_from", weights, "--epochs", 1, "--warmup", 0, "--image_size", 48, 48)
    assert f"a linear probe of the starting weights at 32x32 gives val top1 {reached:.1%}" in told.out
    measured = call("--evaluation", "--resume", told.run, "--split", "val", "--no_report")
    assert f"a linear probe of the starting weights at 32x32 gives val top1 {reached:.1%}" in measured.out


def parts_of(images: int, width: int) -> Any:
    """Return what a probe sees of a network whose classifier reads so many features."""
    net: Any = build_model("resnet18", num_classes=3)
    net.get_classifier = lambda: nn.Linear(width, 3)
    return SimpleNamespace(split=range(images), model=net, catalog=SimpleNamespace(classes=("a", "b", "c")))


def test_features_that_do_not_fit_into_memory_are_those_of_the_last_stage_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "available_memory", lambda: 10**9)
    plain, staged = parts_of(50_000, 512), parts_of(50_000, 4000)
    assert probe._with_room(parts_of(5000, 512), few := parts_of(5000, 4000)) is few
    assert probe._with_room(plain, None) is None
    assert probe._with_room(plain, staged) is None
    with pytest.raises(UserError, match=r"--probe: features of 200,000 training images need about 2\.5 GB of memory, and 80%") as raised:
        probe._with_room(parts_of(200_000, 512), parts_of(200_000, 4000))
    found = re.search(r"; name at most ([\d,]+) of them in a list: --data FILE\.csv$", str(raised.value))
    assert found is not None, "the message says what to do"
    fitting = int(found[1].replace(",", ""))
    assert probe._with_room(parts_of(fitting, 512), None) is None
    with pytest.raises(UserError):
        probe._with_room(parts_of(fitting + 1, 512), None)


def test_a_probe_without_weights_is_refused(call: Call, colors: Path) -> None:
    outcome = call("--probe", "--data", colors, *SMALL)
    assert outcome.code == 2
    assert "add --pretrained, or --init_from FILE" in outcome.err
    resumed = call("--probe", "--data", colors, *SMALL, "--resume", "run")
    assert (resumed.code, "--resume" in resumed.err) == (2, True)
    unused = call("--probe", "--data", colors, "--lr", 0.1)
    assert (unused.code, "--lr" in unused.err) == (2, True)
