"""The numbers of normalization belong to the weights, and come with them where a run begins from a checkpoint."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from applications.assemble import build_preprocess, plain_epochs
from applications.settings.options import RunConfig
from dataloader.images.preprocess import Preprocess
from dataloader.targets.boxes import Boxes
from dataloader.targets.label import Label
from models.published import IMAGENET_MEAN, IMAGENET_STD
from tests.applications.conftest import NETS, Call, tiny
from utils.checkpoint import load_checkpoint, save_checkpoint

MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)


def start_from(path: Path, *, white: int | None = None, mean_std: Path | None = None) -> RunConfig:
    """Write a checkpoint of these numbers; return the settings of a run that begins from it."""
    numbers = Preprocess((32, 48), "crop", MEAN, STD, white).to_dict()
    save_checkpoint(path, {"arch": "resnet18", "preprocess": numbers, "state_dict": {}})
    return RunConfig().override({"init_from": str(path), "mean_std": None if mean_std is None else str(mean_std)})


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return list({id(each): each.getMessage() for each in caplog.records if each.levelno == logging.WARNING}.values())


def test_mean_and_std_come_with_a_checkpoint_and_geometry_does_not(tmp_path: Path) -> None:
    found = build_preprocess(start_from(tmp_path / "a.pt"), white=4095)
    assert found == Preprocess(RunConfig().data.image_size, RunConfig().data.resize, MEAN, STD, 4095)


def test_numbers_that_are_given_outrank_those_of_the_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "mean_std.json"
    file.write_text(json.dumps({"mean": [0.7, 0.7, 0.7], "std": [0.2, 0.2, 0.2]}))
    found = build_preprocess(start_from(tmp_path / "a.pt", mean_std=file))
    assert (found.mean, found.std) == ((0.7, 0.7, 0.7), (0.2, 0.2, 0.2))


@pytest.mark.parametrize("content", [{"fc.weight": torch.zeros(1)}, {"state_dict": {}, "arch": "x", "preprocess": {"mean": 5}}])
def test_bare_weights_and_files_of_other_programs_have_no_numbers(tmp_path: Path, content: dict) -> None:
    torch.save(content, tmp_path / "bare.pth")
    found = build_preprocess(RunConfig().override({"init_from": str(tmp_path / "bare.pth")}))
    assert (found.mean, found.std) == (IMAGENET_MEAN, IMAGENET_STD)


@pytest.mark.parametrize(("before", "now", "warns"), [(4095, 65535, True), (65535, 4095, True), (4095, 4095, False), (None, 4095, False)])
def test_weights_of_another_white_are_warned_about_with_both_numbers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, before: int | None, now: int, warns: bool
) -> None:
    monkeypatch.setattr(logging.getLogger("darkroom"), "propagate", True)
    config = start_from(tmp_path / "a.pt", white=before)
    assert build_preprocess(config, white=now).white == now
    found = warnings_of(caplog)
    assert len(found) == warns
    if warns:
        assert f"was trained with {before:,} as white in 16-bit images, this run takes {now:,}" in found[0]


def test_a_run_says_once_whose_numbers_it_has_and_keeps_them_on_resume(call: Call, colors: Path, tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text(json.dumps({"mean": MEAN, "std": STD}))
    parent = call(*tiny(colors, "--epochs", 1, "--mean_std", "own.json")).run
    child = call(*tiny(colors, "--epochs", 1, "--init_from", parent / "best.pt"))
    assert child.code == 0, child.err
    assert child.out.count("mean 0.1, 0.2, 0.3 and std 0.4, 0.5, 0.6 come with the weights") == 1
    (parent / "best.pt").unlink()
    resumed = call("--resume", child.run, "--arch", f"{NETS}:TinyNet", "--epochs", 2)
    assert resumed.code == 0, resumed.err
    assert "come with the weights" not in resumed.out
    numbers = load_checkpoint(child.run / "last.pt")["preprocess"]
    assert (numbers["mean"], numbers["std"]) == (list(MEAN), list(STD))


def test_adversarial_weights_and_gray_images_change_the_numbers() -> None:
    start = RunConfig().override({"arch": "efficientnet_b0", "pretrained": True})
    assert build_preprocess(start).mean == IMAGENET_MEAN
    assert build_preprocess(start.override({"advprop": True})).mean == (0.5, 0.5, 0.5)
    assert build_preprocess(start.override({"advprop": True, "channels": 1})).std == (0.5,)


def test_a_gray_run_that_begins_from_one_with_colors_fits_its_numbers(tmp_path: Path) -> None:
    gray = build_preprocess(start_from(tmp_path / "a.pt").override({"channels": 1}))
    assert (gray.mean, gray.std) == (pytest.approx((0.299 * 0.1 + 0.587 * 0.2 + 0.114 * 0.3,)), pytest.approx((0.5,)))


def test_plain_epochs_without_boxes_are_refused(call: Call, colors: Path) -> None:
    outcome = call(*tiny(colors, "--plain_epochs", 1))
    assert (outcome.code, "--plain_epochs 1 is for images with boxes" in outcome.err) == (2, True), outcome.err


@pytest.mark.parametrize(
    ("epochs", "given", "wanted"),
    [(2, None, 0), (3, None, 0), (4, None, 1), (9, None, 1), (60, None, 9), (300, None, 15), (60, 0, 0), (3, 2, 2)],
)
def test_the_last_share_of_a_run_with_boxes_is_plain(epochs: int, given: int | None, wanted: int) -> None:
    boxes = Boxes(np.empty((0, 4), np.float32), np.empty(0, np.int64), (8, 8))
    assert plain_epochs(RunConfig().override({"epochs": epochs, "plain_epochs": given}), boxes) == wanted
    assert plain_epochs(RunConfig().override({"epochs": epochs}), Label(0)) == 0
