"""The command line: one declaration a flag, errors that teach, a frozen --help."""

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import config
from applications.settings.options import SECTIONS, RunConfig
from utils.errors import UserError

ROOT = Path(__file__).parent.parent
SNAPSHOT = Path(__file__).parent / "help.txt"


def test_help_is_the_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every new flag is a visible diff: COLUMNS=120 python main.py --help > tests/help.txt."""
    monkeypatch.setenv("COLUMNS", "120")
    assert config.build_parser().format_help() == SNAPSHOT.read_text()


def test_help_answers_without_torch() -> None:
    code = """
import sys, main
try:
    main.main(["--help"])
except SystemExit as done:
    assert done.code == 0
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_names_of_settings_are_unique_over_all_sections() -> None:
    names = [item.name for options in SECTIONS.values() for item in fields(options)]
    assert len(names) == len(set(names))


def test_every_setting_survives_the_round_trip_through_json() -> None:
    first = config.parse(
        [
            "--data",
            "x",
            "--image_size",
            "64",
            "32",
            "--ema",
            "--lr_ratios",
            "1",
            "0.1",
            "--lr_steps",
            "2",
            "4",
            "--mixup",
            "--clip_grad",
            "2",
        ]
    ).config
    again = RunConfig.from_dict(json.loads(json.dumps(first.to_dict())))
    assert again == first


def test_settings_of_older_checkpoints_are_read_under_their_names_of_today() -> None:
    settings = RunConfig.from_dict({"crops": True, "aug": "detect"})
    assert settings.boxes.cut_out_boxes
    assert settings.data.aug == "mosaic_hsv"


def test_hyphens_and_equals_signs_are_accepted() -> None:
    parsed = config.parse(["--batch-size=8", "--image-size", "32", "48", "--no-mixup"]).config
    assert parsed.data.batch_size == 8
    assert parsed.data.image_size == (32, 48)


@pytest.mark.parametrize("flag", ["-e", "--evaluation", "--evaluate"])
def test_evaluation_has_three_spellings(flag: str) -> None:
    assert config.parse([flag, "--resume", "x"]).action == "evaluation"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--epoch", "3"], "--epochs"),
        (["--bath_size", "3"], "--batch_size"),
        (["--resize", "fill"], "fit"),
        (["--image_size", "32"], "--image_size"),
        (["--jit"], "--resume"),
        (["--evaluation"], "--resume"),
        (["--evaluation", "--jit", "--resume", "x"], "one action"),
        (["--evaluation", "--resume", "x", "--aug", "flip"], "--aug belongs to training and does nothing for --evaluation"),
        (["--visual_data", "train", "--resume", "x", "--epochs", "3"], "--epochs belongs to training"),
        (["--aug", "--aug_splits", "3", "--mixup"], "--aug_splits compares copies"),
        (["--epochs", "0"], "--epochs"),
        (["--lr", "-1"], "--lr"),
        (["--workers", "-1"], "--workers"),
        (["--pretrained", "--init_from", "x"], "--init_from"),
        (["--advprop"], "add --pretrained"),
        (["--channels", "2"], "--channels"),
        (["--cache_dir", "x"], "has no effect without --cache disk"),
        (["--cache", "ram", "--cache_dir", "x"], "has no effect without --cache disk"),
        (["--cache", "ram", "--cache_size", "64"], "--cache_size 64 is for --cache with --aug"),
        (["--cache", "ram", "--aug", "--cache_size", "0"], "--cache_size must be above 0"),
        (["photos"], "photos"),
        (["--config", "missing.json"], "missing.json"),
        (["--arch", "resnet19"], "resnet18"),
        (["--arch", "timm"], "timm/NAME"),
        (["--opt", "adamv"], "adamw"),
        (["--schedule", "cosin(cycles=2)"], "cosine"),
        (["--name", "../elsewhere"], "--logdir"),
        (["--name", ".."], "--logdir"),
        (["--slim", "0.1"], "--sparsity"),
        (["--clip_mode", "agc"], "--clip_grad"),
        (["--batch", "auto", "--batch_size", "8"], "--batch_size"),
        (["--batch", "auto", "--resume", "RUN"], "--batch_size"),
    ],
)
def test_mistakes_are_answered_with_what_to_write(argv: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        config.parse(argv)
    assert "\n" not in str(caught.value)


def test_flags_outrank_the_config_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("epochs: 7\nlr: 0.5\naug: flip\n")
    parsed = config.parse(["--config", str(file), "--lr", "0.25"])
    assert (parsed.config.train.epochs, parsed.config.optim.lr, parsed.config.data.aug) == (7, 0.25, "flip")
    assert dict(parsed.given) == {"epochs": 7, "lr": 0.25, "aug": "flip"}


@pytest.mark.parametrize(
    ("text", "said"),
    [("epoch: 3", "epochs"), ("epochs: many", "epochs"), ("- 1", "setting: value"), ("a: [", "run.yaml"), ("mixup: 3", "mixup")],
)
def test_a_wrong_config_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=said):
        config.parse(["--config", str(file)])


def test_the_config_of_a_run_may_lie_under_another_action(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("epochs: 3\naug: flip")
    assert config.parse(["--config", str(file), "--evaluation", "--resume", "x"]).action == "evaluation"


def test_a_mistake_ends_with_2_and_one_line() -> None:
    done = subprocess.run([sys.executable, "main.py", "--epoch", "3"], cwd=ROOT, capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: unknown flag --epoch")
