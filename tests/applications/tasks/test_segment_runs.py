"""Segmentation from main.py: it trains, goes on to the bit, is evaluated at the size of the images, and answers with masks."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataloader.sources.mask_files import MaskFolder
from dataloader.sources.shapes import CLASSES, write_png
from tests.applications.conftest import Call, DenseRuns, read_rows
from tests.applications.dense_data import COUNTS, write_scenes
from tests.applications.dense_data import SEGMENT as FLAGS
from utils.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes"))


def test_a_run_is_evaluated_at_the_size_of_the_images_and_answers_with_masks(call: Call, scenes: Path) -> None:
    trained = call("--data", scenes, *FLAGS, "--epochs", 1, "--name", "one", "--aug", "flip|rotate(10)")
    assert trained.code == 0, trained.err
    assert json.loads((trained.run / "config.json").read_text())["criterion"] == "softmax|class_weights('sqrt')|dice"
    outcome = call("--evaluation", "--resume", trained.run, "--no_report")
    assert outcome.code == 0, outcome.err
    folder = trained.run / "evaluation-test"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert f"test: mIoU {metrics['mIoU']:.2%}  pixel accuracy {metrics['pixel_accuracy']:.2%}" in outcome.out
    low, high = metrics["intervals"]["mIoU"]
    assert low <= metrics["mIoU"] <= high
    answered = call("--predict", scenes / "images" / "test", "--resume", trained.run)
    assert answered.code == 0, answered.err
    masks = sorted((trained.run / "predict" / "masks").glob("*.png"))
    truths = sorted((scenes / "masks" / "test").glob("*.png"))
    assert [file.name for file in masks] == [file.name for file in truths]
    pairs = [(np.array(Image.open(mask)), np.array(Image.open(truth))) for mask, truth in zip(masks, truths, strict=True)]
    assert all(mask.shape == (48, 48) for mask, _ in pairs)
    assert np.mean([mask == truth for mask, truth in pairs]) == pytest.approx(metrics["pixel_accuracy"]), "the same answers"
    areas = read_rows(trained.run / "predict" / "areas.csv")
    assert sum(int(row["pixels"]) for row in areas) == 48 * 48 * COUNTS["test"]
    regions = json.loads((trained.run / "predict" / "regions.json").read_text())
    assert [image["height"] for image in regions["images"]] == [48] * COUNTS["test"]
    refused = call("--predict", scenes / "images" / "test", "--resume", trained.run, "--embed")
    assert (refused.code, refused.err.count("\n")) == (2, 1)


def test_a_mask_that_cannot_be_used_stops_a_run_before_it_begins(call: Call, scenes: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(scenes, tmp_path / "scenes"))
    strange = np.full((48, 48), 99, np.uint8)
    write_png(strange, home / "masks" / "test" / f"{COUNTS['train'] + COUNTS['val']:03d}.png")
    warned = call("--data", home, *FLAGS, "--epochs", 1, "--name", "warned")
    assert warned.code == 0, warned.err
    assert "the test images cannot be evaluated as they are: " in warned.out
    stopped = call("--evaluation", "--resume", warned.run)
    assert (stopped.code, stopped.err.count("\n")) == (2, 1), stopped.err
    assert "022.png: id 99 has no name" in stopped.err
    assert not (warned.run / "evaluation-test").exists()
    write_png(strange, home / "masks" / "train" / "007.png")
    refused = call("--data", home, *FLAGS, "--epochs", 1, "--name", "refused")
    assert (refused.code, refused.err.count("\n")) == (2, 1), refused.err
    assert "007.png: id 99 has no name" in refused.err
    assert not (tmp_path / "runs" / "segment" / "refused").exists()


def test_evaluation_decodes_every_mask_once(call: Call, dense_runs: DenseRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    decode = MaskFolder.decode

    def noted(folder: MaskFolder, file: Path) -> np.ndarray:
        read.append(file.name)
        return decode(folder, file)

    monkeypatch.setattr(MaskFolder, "decode", noted)
    for tiled in (True, False):
        monkeypatch.setattr("applications.evaluation.masks.is_tiled", {True: bool, False: lambda _: False}[tiled])
        outcome = call("--evaluation", "--resume", dense_runs.segmenter, "--no_report", "--workers", 0)
        assert outcome.code == 0, outcome.err
        assert len(read) == len(set(read)) == COUNTS["test"]
        read.clear()


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(call: Call, scenes: Path) -> None:
    more = ("--aug", "flip|rotate(10)", "--multi_scale", "--ema", 0.9, "--class_weights", "auto", "--schedule", "constant", "--crop")
    unbroken = call("--data", scenes, *FLAGS, *more, "--epochs", 3, "--name", "unbroken")
    assert unbroken.code == 0, unbroken.err
    first = call("--data", scenes, *FLAGS, *more, "--epochs", 2, "--name", "two")
    resumed = call("--resume", first.run, "--epochs", 3)
    assert resumed.code == 0, resumed.err
    for part in ("state_dict", "state_dict_ema"):
        ours, theirs = (load_checkpoint(run / "last.pt")[part] for run in (first.run, unbroken.run))
        assert all(bool((ours[name] == theirs[name]).all()) for name in ours), part


@pytest.mark.slow
def test_the_page_shows_the_worst_images_and_every_class(call: Call, scenes: Path) -> None:
    trained = call("--data", scenes, *FLAGS, "--epochs", 1, "--name", "page")
    outcome = call("--evaluation", "--resume", trained.run)
    assert outcome.code == 0, outcome.err
    folder = trained.run / "evaluation-test"
    page, figures = (folder / "report.html").read_text(), json.loads((folder / "report.json").read_text())
    for heading in ("How good is it?", "Classes, the worst first", "What is taken for what", "The worst images", "Can the probabilities"):
        assert heading in page
    assert all(name in page for name in CLASSES)
    assert len(read_rows(folder / "figures" / "images.csv")) == COUNTS["test"]
    assert figures["figures"]["mIoU"]["value"] == pytest.approx(json.loads((folder / "metrics.json").read_text())["mIoU"])


@pytest.mark.slow
def test_crops_tiles_and_views_are_evaluated_and_folds_are_trained(call: Call, scenes: Path) -> None:
    trained = call("--data", scenes, *FLAGS, "--epochs", 1, "--name", "crops", "--crop", "--fold", "0/4")
    assert trained.code == 0, trained.err
    tiled = call("--evaluation", "--resume", trained.run, "--no_report", "--tta", "hflip|scale(1.25)")
    assert tiled.code == 0, tiled.err
    assert "tiles     32x32" in tiled.out
    assert "views     4 an image" in tiled.out
    assert json.loads((trained.run / "evaluation-test" / "metrics.json").read_text())["images"] == COUNTS["test"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--mixup",), "mixing images"),
        (("--sampler", "balanced"), "labels of images"),
        (("--resize", "crop"), "--resize crop cuts off"),
        (("--aug", "augmix"), "augmix"),
        (("--crop", "--cache", "ram"), "--cache keeps images"),
        (("--arch", "resnet18", "--encoder", "resnet18"), "--arch unet --encoder"),
    ],
    ids=str,
)
def test_what_masks_cannot_follow_is_refused_in_one_line(call: Call, scenes: Path, flags: tuple[str, ...], said: str) -> None:
    outcome = call("--data", scenes, *FLAGS, "--epochs", 1, *flags)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err
    assert said in outcome.err
