"""The room for checkpoints is foretold before the first step."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from applications.settings.options import RunConfig
from applications.training import disk_space
from tests.applications.conftest import Call, tiny


@pytest.mark.parametrize("flags", [("--opt", "sgd"), ("--opt", "adamw"), ("--opt", "adamw", "--ema"), ("--opt", "rmsprop")], ids=str)
def test_the_foretold_size_is_about_that_of_the_first_checkpoint(
    call: Call, colors: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    told: list[int] = []
    monkeypatch.setattr(disk_space, "check_space", lambda _, first, later: told.extend((first, later)))
    settings = tiny(colors, *flags, "--epochs", 1)
    run = call(*settings[:3], "mobilenetv3_small", *settings[4:], "--image_size", 32, 32).run
    assert told[0] == pytest.approx((run / "last.pt").stat().st_size, rel=0.15)
    # The last one while it is written anew, and the best one, which is slimmer.
    assert 2 * told[0] < told[1] <= 3 * told[0]


def test_a_disk_that_will_be_full_at_the_first_checkpoint_is_an_error_before_the_first_step(
    call: Call, colors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    outcome = call(*tiny(colors))
    assert outcome.code == 2
    assert "the first checkpoint needs about" in outcome.err
    assert outcome.err.count("\n") == 1
    assert "epoch 1" not in outcome.out
    assert not (tmp_path / "runs").exists()


def test_a_step_that_an_optimizer_cannot_make_leaves_the_usual_estimate() -> None:
    assert disk_space.moments_of(RunConfig().override({"opt": "adamw"}).optim) == pytest.approx(2, abs=0.01)
    assert disk_space.moments_of(RunConfig().override({"opt": "nowhere"}).optim) == disk_space.USUAL_MOMENTS
