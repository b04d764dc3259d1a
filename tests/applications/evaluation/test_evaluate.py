"""Evaluation: figures that can be recomputed from what it writes, everything read from the checkpoint."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.applications.conftest import NETS, Call, read_rows, start, tiny, write_colors
from utils.checkpoint import load_checkpoint

ARCH = ("--arch", f"{NETS}:TinyNet")
# The report has tests of its own.
EVALUATE = ("--evaluation", "--no_report")


@pytest.fixture
def run(call: Call, colors: Path) -> Path:
    return call(*tiny(colors, "--epochs", 3)).run


def test_the_figures_follow_from_the_predictions(call: Call, run: Path) -> None:
    outcome = call(*EVALUATE, "--resume", run, *ARCH)
    assert outcome.code == 0, outcome.err
    folder = run / "evaluation-test"
    rows = read_rows(folder / "predictions.csv")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert len(rows) == metrics["images"] == 15
    assert metrics["top1"] == pytest.approx(np.mean([row["true"] == row["predicted"] for row in rows]))
    for row in rows:
        shares = {name: float(row[name]) for name in ("blue", "green", "red")}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert max(shares, key=lambda name: shares[name]) == row["predicted"]
        assert Path(row["path"]).parent.name == row["true"]
    # The loss is that of the bare logits; the probabilities are those of logits / temperature.
    temperature = load_checkpoint(run / "best.pt")["temperature"]
    logs = np.log([[float(row[name]) for name in ("blue", "green", "red")] for row in rows]) * temperature
    logs -= np.log(np.exp(logs).sum(1, keepdims=True))
    losses = [-line[("blue", "green", "red").index(row["true"])] for line, row in zip(logs, rows, strict=True)]
    assert metrics["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    with (folder / "confusion.csv").open() as file:
        matrix = np.array([row[1:] for row in list(csv.reader(file))[1:]], dtype=int)
    assert matrix.sum() == 15
    assert np.trace(matrix) / 15 == pytest.approx(metrics["top1"])
    with Image.open(folder / "confusion.png") as picture:
        assert min(picture.size) > 300


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_evaluation_measures_what_can_be_read_lists_the_rest_and_ends_with_1(call: Call, run: Path, tmp_path: Path, batch: int) -> None:
    lost, removed = (write_colors(tmp_path / name, {"train": 1, "test": 5}) for name in ("lost", "removed"))
    for name in ("red/3.png", "blue/0.png"):
        (lost / "test" / name).write_text("no image")
        (removed / "test" / name).unlink()
    outcome = call("--evaluation", "--resume", run, *ARCH, "--data", lost, "-b", batch)
    assert outcome.code == 1, outcome.err
    assert "the figures go without 2 images that cannot be read" in outcome.out
    assert "(13 images, 2 more unreadable)" in outcome.out
    folder = run / "evaluation-test"
    assert [Path(row["image"]).name for row in read_rows(folder / "unreadable.csv")] == ["0.png", "3.png"]
    assert "2 more cannot be read" in (folder / "report.html").read_text()
    assert json.loads((folder / "report.json").read_text())["unreadable"] == 2
    found = json.loads((folder / "metrics.json").read_text())
    assert call(*EVALUATE, "--resume", run, *ARCH, "--data", removed, "-b", batch).code == 0
    other = json.loads((run / "evaluation-test-2" / "metrics.json").read_text())
    assert (found.pop("unreadable"), other.pop("unreadable")) == (2, 0)
    assert found | {"data": ""} == other | {"data": ""}
    paths = [
        [Path(row["path"]).relative_to(data).as_posix() for row in read_rows(place / "predictions.csv")]
        for data, place in ((lost, folder), (removed, run / "evaluation-test-2"))
    ]
    assert paths[0] == paths[1]
    strict = call(*EVALUATE, "--resume", run, *ARCH, "--data", lost, "--strict")
    assert strict.code == 2
    assert "blue/0.png" in strict.err


def test_the_per_class_table_is_that_of_a_few_lines(call: Call, run: Path) -> None:
    call(*EVALUATE, "--resume", run, *ARCH, "--split", "train")
    folder = run / "evaluation-train"
    pairs = [(row["true"], row["predicted"]) for row in read_rows(folder / "predictions.csv")]
    for row in read_rows(folder / "classes.csv"):
        right = sum(true == found == row["class"] for true, found in pairs)
        found, true = (sum(pair[side] == row["class"] for pair in pairs) for side in (1, 0))
        assert float(row["recall"]) == pytest.approx(right / true, abs=1e-4)
        assert float(row["precision"]) == pytest.approx(right / max(1, found), abs=1e-4)
        assert int(row["images"]) == true


def test_training_in_half_precision_chooses_epoch_and_temperature_by_the_figures_of_evaluation(call: Call, colors: Path) -> None:
    run = call(*tiny(colors, "--epochs", 3, "--precision", "bf16", "--image_size", 24, 24)).run
    content = load_checkpoint(run / "best.pt")
    assert content["config"]["precision"] == "bf16"
    row = next(row for row in read_rows(run / "metrics.csv") if int(row["epoch"]) == content["epoch"])
    assert call(*EVALUATE, "--resume", run, *ARCH, "--split", "val", "--calibrate").code == 0
    found = json.loads((run / "evaluation-val" / "metrics.json").read_text())
    assert found["top1"] == float(row["val_top1"])
    assert found["loss"] == pytest.approx(float(row["val_loss"]), rel=1e-6)
    assert load_checkpoint(run / "best.pt")["temperature"] == pytest.approx(content["temperature"], rel=1e-5)


def test_bce_answers_with_sigmoid_probabilities(call: Call, colors: Path) -> None:
    run = call(*tiny(colors, "--criterion", "bce")).run
    call(*EVALUATE, "--resume", run, *ARCH)
    rows = read_rows(run / "evaluation-test" / "predictions.csv")
    sums = [sum(float(row[name]) for name in ("blue", "green", "red")) for row in rows]
    assert any(abs(total - 1) > 0.01 for total in sums)


def test_averaged_weights_are_the_ones_evaluated_and_it_is_said(call: Call, colors: Path) -> None:
    run = call(*tiny(colors, "--ema", 0.9)).run
    outcome = call(*EVALUATE, "--resume", run / "last.pt", *ARCH, "--split", "val")
    assert "averaged weights (EMA)" in outcome.out
    last = read_rows(run / "metrics.csv")[-1]
    found = json.loads((run / "evaluation-val" / "metrics.json").read_text())
    assert found["loss"] == pytest.approx(float(last["val_loss"]), rel=1e-5)
    content = load_checkpoint(run / "last.pt")
    assert any((content["state_dict"][name] != content["state_dict_ema"][name]).any() for name in content["state_dict"])


def test_two_evaluations_do_not_overwrite_each_other(call: Call, run: Path) -> None:
    for _ in range(2):
        call(*EVALUATE, "--resume", run, *ARCH)
    assert (run / "evaluation-test-2" / "predictions.csv").read_text() == (run / "evaluation-test" / "predictions.csv").read_text()


def test_no_augmentation_reaches_evaluation(call: Call, colors: Path) -> None:
    run = call(*tiny(colors, "--aug", "flip|crop(0.4)|color(0.9)", "--mixup")).run
    for _ in range(2):
        call(*EVALUATE, "--resume", run, *ARCH)
    assert (run / "evaluation-test-2" / "predictions.csv").read_text() == (run / "evaluation-test" / "predictions.csv").read_text()


def test_several_processes_count_every_sample_once(call: Call, run: Path, tmp_path: Path) -> None:
    call(*EVALUATE, "--resume", run, *ARCH)
    process = start(*EVALUATE, "--resume", run.resolve(), *ARCH, "--nproc", 2, "-b", 4, folder=tmp_path)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    one, two = (read_rows(run / f"evaluation-test{end}" / "predictions.csv") for end in ("", "-2"))
    assert [row["path"] for row in one] == [row["path"] for row in two]
    assert [float(row["red"]) for row in one] == pytest.approx([float(row["red"]) for row in two], abs=1e-5)


def test_a_folder_of_classes_alone_is_evaluated_whole(call: Call, run: Path, colors: Path, tmp_path: Path) -> None:
    shutil.copytree(colors / "test", tmp_path / "new")
    outcome = call(*EVALUATE, "--resume", run, *ARCH, "--data", tmp_path / "new")
    assert outcome.code == 0, outcome.err
    assert "15 test images" in outcome.out


def test_mistakes_are_answered_in_one_line(call: Call, run: Path, tmp_path: Path) -> None:
    data = write_colors(tmp_path / "data", {"train": 3, "val": 3, "test": 3})
    (data / "test" / "red").rename(data / "test" / "rose")
    outcome = call(*EVALUATE, "--resume", run, *ARCH, "--data", data)
    assert (outcome.code, "rose" in outcome.err) == (2, True)
    assert call(*EVALUATE, "--resume", "nowhere").code == 2
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    outcome = call(*EVALUATE, "--resume", text)
    assert (outcome.code, "notes.txt" in outcome.err) == (2, True)
    assert call(*EVALUATE, "--resume", run, "--arch", "resnet18").code == 2
    assert not list(run.glob("evaluation*")), "a mistake leaves nothing behind"


def test_another_folder_of_classes_is_measured_whole_although_the_run_has_a_split(call: Call, colors: Path, tmp_path: Path) -> None:
    run = call(*tiny(write_colors(tmp_path / "flat", {"": 10}))).run
    outcome = call(*EVALUATE, "--resume", run, *ARCH, "--data", colors / "train")
    assert outcome.code == 0, outcome.err
    assert "60 test images" in outcome.out


def test_the_same_data_named_again_keeps_its_split_and_new_images_stay_out(call: Call, tmp_path: Path) -> None:
    data = write_colors(tmp_path / "flat", {"": 20})
    run = call(*tiny("flat")).run
    shutil.copy(data / "red" / "0.png", data / "red" / "new.png")
    outcome = call(*EVALUATE, "--resume", run, *ARCH, "--data", "flat")
    assert outcome.code == 0, outcome.err
    assert "9 test images" in outcome.out
