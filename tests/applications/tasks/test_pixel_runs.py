"""A task that is not one of labels, from main.py: it trains, goes on, is read back and evaluated; what it cannot do is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from applications.assemble import training_data
from applications.tasks import TASKS
from applications.trained import checkpoint
from dataloader.sources.mask_files import MaskFolder
from dataloader.sources.shapes import CLASSES, scene, write_png
from dataloader.splits.catalog import Catalog
from dataloader.splits.split import Split
from dataloader.targets.mask import Mask
from tests.applications.conftest import Call, read_rows
from utils.checkpoint import load_checkpoint
from utils.registry import Row

COUNTS = {"train": 24, "val": 6, "test": 6}
NAMES = ("ground", *CLASSES)
FLAGS = ("--image_size", 32, 32, "-b", 6, "--workers", 0, "--lr", 0.02, "--warmup", 0, "--precision", "fp32")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of images, with masks of the same names in the folder masks beside it."""
    home = tmp_path_factory.mktemp("scenes")
    first = 0
    for split, count in COUNTS.items():
        for folder in ("images", "masks"):
            (home / folder / split).mkdir(parents=True)
        for number in range(first, first + count):
            made = scene(number, side=32)
            write_png(made.image, home / "images" / split / f"{number:03d}.png")
            write_png(made.mask, home / "masks" / split / f"{number:03d}.png")
        first += count
    return home / "images"


@pytest.fixture
def dense(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the task into TASKS, and have data opened with masks; return the data."""
    rows = {name: row for name, row in TASKS._rows.items() if name != "segment"}
    monkeypatch.setattr(TASKS, "_rows", {**rows, "pixels": Row("tests.applications.tasks.pixel_task:PixelTask", "a class a pixel")})

    def open_masks(name: str, **_: Any) -> Catalog:
        root = Path(name)
        splits = {}
        for split in COUNTS:
            paths = tuple(sorted(file.relative_to(root).as_posix() for file in (root / split).glob("*.png")))
            truths = MaskFolder(root.parent / "masks", NAMES)
            splits[split] = Split(split, root, paths, np.zeros(len(paths), np.int64), truths=truths)
        return Catalog(root, NAMES, splits, target=Mask)

    monkeypatch.setattr(training_data, "open_catalog", open_masks)
    monkeypatch.setattr(checkpoint, "open_catalog", open_masks)
    return scenes


def test_it_trains_goes_on_and_is_evaluated(call: Call, dense: Path) -> None:
    unbroken = call("--data", dense, *FLAGS, "--epochs", 3, "--name", "unbroken", "--schedule", "constant")
    assert unbroken.code == 0, unbroken.err
    assert unbroken.run == Path("runs/pixels/unbroken")
    assert "best val mIoU" in unbroken.out
    assert "val_mIoU 0." not in unbroken.out, "a share is shown in percent"
    last = read_rows(unbroken.run / "metrics.csv")[-1]
    assert {"train_pixel_accuracy", "val_mIoU", "val_pixel_accuracy", "val_loss"} <= last.keys()
    split_in_two = call("--data", dense, *FLAGS, "--epochs", 2, "--name", "two", "--schedule", "constant")
    resumed = call("--resume", split_in_two.run, "--epochs", 3)
    assert resumed.code == 0, resumed.err
    ours, theirs = (load_checkpoint(run / "last.pt")["state_dict"] for run in (split_in_two.run, unbroken.run))
    assert all(bool((ours[name] == theirs[name]).all()) for name in ours), "as if it had never stopped"

    outcome = call("--evaluation", "--resume", unbroken.run, "--split", "val")
    assert outcome.code == 0, outcome.err
    folder = unbroken.run / "evaluation-val"
    metrics = json.loads((folder / "metrics.json").read_text())
    best = max(read_rows(unbroken.run / "metrics.csv"), key=lambda row: (float(row["val_mIoU"]), -float(row["val_loss"])))
    for name in ("loss", "mIoU", "pixel_accuracy"):
        assert metrics[name] == pytest.approx(float(best[f"val_{name}"]), rel=1e-5), name
    assert (metrics["task"], metrics["images"], metrics["unreadable"]) == ("pixels", 6, 0)
    assert not {"temperature", "thresholds"} & metrics.keys(), "nothing is chosen for pixels"
    assert sorted(file.name for file in folder.iterdir()) == ["classes.csv", "metrics.json"]
    assert "ground" in outcome.out, "the task's own table"
    assert f"mIoU {metrics['mIoU']:.2%}" in outcome.out


@pytest.fixture
def run(call: Call, dense: Path) -> Path:
    outcome = call("--data", dense, *FLAGS, "--epochs", 1, "--name", "one")
    assert outcome.code == 0, outcome.err
    return outcome.run


def refused(outcome: Any, flag: str) -> None:
    """Look at the one line that names flag and task."""
    assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err
    assert f"--{flag} " in outcome.err
    assert "--task pixels" in outcome.err


def test_what_works_with_labels_is_refused_in_one_line(call: Call, dense: Path, run: Path) -> None:
    refused(call("--jit", "--resume", run), "jit")
    refused(call("--export", "onnx", "--resume", run), "export")
    refused(call("--visual_data", "test", "--resume", run), "visual_data")
    refused(call("--predict", dense, "--resume", run), "predict")
    refused(call("--prune", 0.3, "--resume", run), "prune")
    refused(call("--compare", run, run), "compare")
    refused(call("--knowledge", "train", "--resume", run), "knowledge")
    refused(call("--make_curriculum", "train", "--resume", run), "make_curriculum")
    for flags in (("--calibrate",), ("--target", "error<=0.05"), ("--tta", "hflip")):
        refused(call("--evaluation", "--resume", run, *flags), flags[0][2:])
    assert sorted(file.name for file in run.iterdir() if file.is_dir() and file.name != "checkpoints") == []


@pytest.mark.parametrize(
    "flags",
    [
        ("--teacher", "RUN"),
        ("--mixup",),
        ("--class_weights", "auto"),
        ("--criterion", "softmax|class_weights(auto)"),
        ("--prior_bias",),
        ("--head_lr", 0.1),
        ("--freeze", "backbone"),
    ],
    ids=str,
)
def test_training_refuses_what_needs_labels_or_a_classifier(call: Call, dense: Path, tmp_path: Path, flags: tuple[object, ...]) -> None:
    given = [tmp_path if each == "RUN" else each for each in flags]
    outcome = call("--data", dense, *FLAGS, "--epochs", 1, *given)
    refused(outcome, "class_weights" if "class_weights" in str(flags) else str(flags[0])[2:])
    assert not (tmp_path / "runs").exists()


def test_an_unreadable_image_is_left_out_of_the_figures_and_named(call: Call, run: Path, dense: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "masks").symlink_to(dense.parent / "masks")
    for split in COUNTS:
        (folder / "images" / split).mkdir(parents=True)
        for file in (dense / split).iterdir():
            (folder / "images" / split / file.name).write_bytes(file.read_bytes())
    broken = sorted((folder / "images" / "test").iterdir())[0]
    broken.write_bytes(b"no image")
    outcome = call("--evaluation", "--resume", run, "--data", folder / "images", "--split", "test")
    assert outcome.code == 1, outcome.err
    metrics = json.loads((run / "evaluation-test" / "metrics.json").read_text())
    assert (metrics["images"], metrics["unreadable"]) == (5, 1)
    assert [row["image"] for row in read_rows(run / "evaluation-test" / "unreadable.csv")] == [str(broken)]
