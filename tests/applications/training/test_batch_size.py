"""The search for the largest batch: what it answers, and that its trial is a real training step."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from applications import assemble
from applications.settings.options import RunConfig
from applications.training import train
from applications.training.batch_size import Trial, largest_that_fits, with_batch_size
from applications.training.training_parts import open_parts
from dataloader.augment.chain import Augment
from dataloader.opening.open_catalog import open_catalog
from tests.applications.conftest import NETS, Call
from utils.errors import UserError


@pytest.mark.parametrize(
    ("room", "most", "found"), [(0, 64, 0), (1, 64, 1), (5, 64, 4), (6, 64, 6), (100, 4096, 96), (1000, 40, 32), (1000, 64, 64)]
)
def test_the_search_finds_the_largest_that_fits_and_never_tries_more_than_asked(room: int, most: int, found: int) -> None:
    tried = []

    def fits(images: int) -> bool:
        tried.append(images)
        return images <= room

    assert largest_that_fits(fits, most=most) == found
    assert max(tried) <= most
    assert len(tried) <= 14


def config_for(data: Path, **values: object) -> RunConfig:
    return RunConfig().override({"data": str(data), "image_size": [16, 16], "device": "cpu", "batch": "auto", **values})


@pytest.mark.parametrize("more", [{}, {"mixup": True, "criterion": "bce|ghm", "sam": 0.05}], ids=["plain", "mixup, ghm and sam"])
def test_the_trial_makes_steps_until_the_memory_ends(colors: Path, more: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_for(colors, **more)
    catalog = open_catalog(str(colors))
    trial = Trial(open_parts(config, assemble.open_machine(config, training=True), catalog, Augment()))
    seen = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=100))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _: 10 * seen[-1])
    whole = trial.objective

    def counted(model, batch, *, record=True):
        seen.append(len(batch))
        if len(batch) > 16:
            raise torch.OutOfMemoryError("no room")
        return whole(model, batch, record=record)

    monkeypatch.setattr(trial, "objective", counted)
    # 12 and more reach beyond the share of the memory; beyond 16 there is none.
    assert largest_that_fits(trial.fits, most=64) == 8
    assert trial.fits(32) is False
    assert trial.stepper.steps >= 6


def test_the_trial_has_the_copies_of_every_image(colors: Path) -> None:
    config = config_for(colors, aug="flip", aug_splits=3, jsd=12.0)
    trial = Trial(open_parts(config, assemble.open_machine(config, training=True), open_catalog(str(colors)), Augment()))
    batch = trial._batch(4)
    assert (len(batch), batch.copies) == (12, 3)
    assert batch.indices.tolist() == [0, 1, 2, 3] * 3
    trial._step(4, 0)


def test_on_the_cpu_the_answer_is_a_number(colors: Path) -> None:
    config = config_for(colors)
    machine = assemble.open_machine(config, training=True)
    with pytest.raises(UserError, match="--batch_size"):
        with_batch_size(open_parts(config, machine, open_catalog(str(colors)), Augment()))


def test_without_the_flag_nothing_is_tried(colors: Path) -> None:
    config = config_for(colors, batch=None)
    machine = assemble.open_machine(config, training=True)
    parts = open_parts(config, machine, open_catalog(str(colors)), Augment())
    assert with_batch_size(parts) is parts


def test_rates_of_a_recipe_follow_the_batch_that_was_found_and_a_plan_keeps_it(
    call: Call, colors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []

    def planned(parts, given):
        kept.append((given, parts.config.optim.lr, parts.config.optim.warmup_lr))
        return parts

    monkeypatch.setattr(
        train, "with_batch_size", lambda parts: replace(parts, config=parts.config.override({"batch_size": 8, "batch": None}))
    )
    monkeypatch.setattr(train, "with_plan", planned)
    flags = ("--data", colors, "--arch", f"{NETS}:TinyNet", "--image_size", 16, 16, "--epochs", 1, "-j", 0, "--batch", "auto")
    outcome = call(*flags, "--recipe", "toolbox", "--aug", "none")
    assert f"--lr {0.5 * 8 / 1024:g} " in outcome.out, outcome.err
    ((given, lr, warmup_lr),) = kept
    assert "batch_size" in given
    assert (lr, warmup_lr) == pytest.approx((0.5 * 8 / 1024, 0.005 * 8 / 1024))
