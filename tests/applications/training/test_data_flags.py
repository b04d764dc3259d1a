"""Augmentation, mixes, splits, sampling and folds, from the command line to the run."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import config
from tests.applications.conftest import NETS, ROOT, Call, read_rows, tiny
from utils.checkpoint import load_checkpoint
from utils.errors import UserError


def test_a_settings_file_and_every_batch_transform_train_together(call: Call, colors: Path, tmp_path: Path) -> None:
    (tmp_path / "transforms.json").write_text('{"flip": {"p": 0.5}, "RGBShift": {"p": 1.0}, "ToTensorV2": {}}')
    mixes = ("--mixup", "--cutmix", "--mix_off_epochs", 1, "--multi_scale", "--size_schedule", "8:0.5", "--epoch_size", 40)
    outcome = call(*tiny(colors, "--aug_config", "transforms.json", *mixes, "--sampler", "repeat(0.9)"))
    assert outcome.code == 0, outcome.err
    settings = json.loads((outcome.run / "config.json").read_text())
    assert settings["aug"] == [{"type": "flip", "kwargs": {"p": 0.5}}, {"type": "RGBShift", "kwargs": {"p": 1.0}}]
    assert settings["aug_config"] is None
    (tmp_path / "transforms.json").unlink()
    again = call(*tiny(colors, "--config", outcome.run / "config.json", "--name", "again"))
    assert again.code == 0, again.err
    figures = [[row["train_loss"], row["val_loss"]] for run in (outcome.run, again.run) for row in read_rows(run / "metrics.csv")]
    assert figures[:2] == figures[2:], "the run's settings hold what the file said"


@pytest.mark.parametrize("criterion", ["softmax", "bce|ohm(0.7)"])
def test_the_divergence_between_copies_is_trained(call: Call, colors: Path, criterion: str) -> None:
    flags = ("--aug", "flip|color(0.9,p=1)", "--aug_splits", 3, "--criterion", criterion)
    plain, pulled = (call(*tiny(colors, *flags, *more)) for more in ((), ("--jsd", 30)))
    assert pulled.code == 0, pulled.err
    losses = [float(read_rows(outcome.run / "metrics.csv")[0]["train_loss"]) for outcome in (plain, pulled)]
    assert losses[0] != losses[1]
    evaluated = call("--evaluation", "--resume", pulled.run, "--arch", json.loads((pulled.run / "config.json").read_text())["arch"])
    assert evaluated.code == 0, evaluated.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--aug", "flip|crp(0.1)"), r"unknown augmentation 'crp'\. Did you mean crop\?"),
        (("--aug", "flip("), r"cannot read 'flip\('"),
        (("--sampler", "balance"), "unknown sampler 'balance'"),
    ],
)
def test_a_name_that_is_unknown_is_answered_at_once(flags: tuple[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        config.parse([*flags])


def test_names_are_looked_up_without_torch() -> None:
    code = "import sys, config; config.parse(['--aug', 'strong', '--sampler', 'repeat(0.1)']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("action", [(), ("--visual_data", "train"), ("--find_lr",)])
def test_a_bad_argument_of_an_augmentation_is_answered_before_the_images_are_looked_for(call: Call, action: tuple[str, ...]) -> None:
    outcome = call("--data", "no such folder", *action, "--aug", "flip|crop(shar=0.2)")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "crop has no argument 'shar'. Did you mean share?" in outcome.err


def test_a_fold_is_validated_on_remembered_and_kept(call: Call, colors: Path) -> None:
    run = call(*tiny(colors, "--fold", "1/3")).run
    with (run / "split.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    counts = {name: sum(row["split"] == name for row in rows) for name in ("train", "val", "test")}
    assert counts == {"train": 50, "val": 25, "test": 15}
    arch = ("--arch", json.loads((run / "config.json").read_text())["arch"])
    outcome = call("--evaluation", "--resume", run, *arch, "--split", "val")
    assert "(25 images)" in outcome.out, outcome.err
    paths = {Path(row["path"]).relative_to(colors).as_posix() for row in read_rows(run / "evaluation-val" / "predictions.csv")}
    assert paths == {row["path"] for row in rows if row["split"] == "val"}
    assert "--fold cannot change" in call("--resume", run, *arch, "--fold", "0/3", "--epochs", 3).err
    longer = call("--resume", run, *arch, "--seed", 9, "--epochs", 3)
    assert longer.code == 0, longer.err
    assert "training images changed" not in longer.out, "another seed moves no image"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--aug", "--aug_splits", 2, "--mixup"], "leave one of them out"),
        (["--aug_splits", 2], "needs --aug"),
        (["--jsd"], "add --aug_splits 3"),
        (["--aug_repeats", 3], "needs --aug"),
        (["--aug", "--aug_repeats", 3, "--aug_splits", 3], "give one of them"),
        (["--aug", "--aug_repeats", 3, "--curriculum", "selfpaced"], "--curriculum follows"),
        (["--aug_repeats", 0], "--aug_repeats must be above 0"),
        (["--mix_mode", "pair"], "without --mixup or --cutmix"),
        (["--aug", "OneOf('flp')"], "Did you mean flip"),
        (["--mix_off_epochs", 2], "without --mixup or --cutmix"),
        (["--fold", "3/3"], "write I/K"),
        (["--size_schedule", "8:0.5,12"], "ends with the width 12"),
        (["--sampler", "balance"], "Did you mean balanced"),
        (["--epoch_size", 0], "--epoch_size must be above 0"),
        (["--cutmix", "--cutmix_alpha", 0], "--cutmix_alpha 0"),
        (["--aug", "RandomCrop(2)"], "missing a required argument"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(call: Call, colors: Path, flags: list[object], said: str) -> None:
    outcome = call(*tiny(colors, *flags))
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


def test_the_position_in_an_epoch_is_counted_in_what_draws_it() -> None:
    from applications.training.resume import settings_resumed

    assert {"sampler", "epoch_size", "aug_splits", "aug_repeats"} <= set(settings_resumed("position"))


def test_a_network_of_fixed_size_is_refused_before_training() -> None:
    from applications.assemble.image_sizes import check_sizes, seen_sizes
    from models import build_model

    settings = config.parse(["--image_size", "64", "64", "--multi_scale", "--size_schedule", "32:0.5"]).config
    assert {(32, 32), (64, 64), (28, 28), (74, 74)} <= set(seen_sizes(settings))
    with pytest.raises(UserError, match="leave --multi_scale and --size_schedule out"):
        check_sizes(build_model(f"{NETS}:FixedNet", num_classes=3), settings)


def test_repeated_augmentation_trains_and_goes_on_where_it_was_left(call: Call, colors: Path) -> None:
    short = ["--schedule", "steps", "--lr_ratios", 1, "--lr_steps", 1, "--epochs", 1]
    full = ["--schedule", "steps", "--lr_ratios", 1, 1, "--lr_steps", 1, 3, "--epochs", 3]
    flags = ("--aug", "flip|color", "--aug_repeats", 3, "--mixup", "--cutmix", "--mix_mode", "elem")
    whole, part = (call(*tiny(colors, *flags, *length)) for length in (full, short))
    assert whole.code == 0, whole.err
    again = call("--resume", part.run, "--arch", f"{NETS}:TinyNet", *full)
    assert again.code == 0, again.err
    first, second = (load_checkpoint(outcome.run / "last.pt")["state_dict"] for outcome in (whole, part))
    assert all(torch.equal(first[name], second[name]) for name in first)
