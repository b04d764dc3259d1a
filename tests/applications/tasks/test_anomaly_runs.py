"""Anomaly detection from main.py: fitted in one look, evaluated with a promise, asked for single images, exported; refusals in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from applications.training.fit_in_passes import strangest
from dataloader.sources.shapes import write_png
from dataloader.sources.weave import KINDS, piece
from tests.applications.conftest import Call, Outcome, read_rows, run_once
from tests.applications.dense_data import ANOMALY as FLAGS
from tests.applications.dense_data import SIDE, write_cloth
from utils.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def cloth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cloth(tmp_path_factory.mktemp("cloth") / "data")


@pytest.fixture(scope="module")
def run(cloth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fitted run."""
    home = tmp_path_factory.mktemp("runs")
    run_once("--data", cloth, *FLAGS, "--logdir", home, "--name", "one")
    return home / "anomaly" / "one"


def refused(outcome: Outcome, *words: str) -> None:
    assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err
    for word in words:
        assert word in outcome.err


def test_a_run_holds_its_fit_its_threshold_and_its_size(run: Path) -> None:
    content = load_checkpoint(run / "best.pt")
    assert (content["task"], content["stepper"], content["config"]["image_size"]) == ("anomaly", None, [SIDE, SIDE])
    assert content["defect_threshold"]["basis"] == "good"
    assert content["state_dict"]["whitening_0"].numel() > 0
    assert (run / "split.csv").is_file()


def test_groups_count_once_where_the_fit_chooses_its_threshold(call: Call, cloth: Path) -> None:
    outcome = call("--data", cloth, *FLAGS, "--group_by", r"(\d)\.png", "--val_share", 0.4)
    assert outcome.code == 0, outcome.err
    held = {row["path"][-5] for row in read_rows(outcome.run / "split.csv") if row["split"] == "val"}
    threshold = load_checkpoint(outcome.run / "best.pt")["defect_threshold"]
    assert (threshold["groups"], threshold["images"]) == (True, len(held))


def test_evaluation_tells_images_pixels_and_kinds(call: Call, run: Path) -> None:
    outcome = call("--evaluation", "--resume", run, "--no_report", "--workers", 0)
    assert outcome.code == 0, outcome.err
    metrics = json.loads((run / "evaluation-test" / "metrics.json").read_text())
    assert metrics["AUROC"] > 0.9
    assert metrics["pixel_AUROC"] > 0.8
    assert f"test: AUROC {metrics['AUROC']:.2%}  pixel AUROC {metrics['pixel_AUROC']:.2%}" in outcome.out
    assert {"AUROC", "pixel_AUROC", "AUPRO", "false_alarms"} <= metrics["intervals"].keys()
    rows = read_rows(run / "evaluation-test" / "predictions.csv")
    assert len(rows) == 15
    kinds = read_rows(run / "evaluation-test" / "kinds.csv")
    assert [row["kind"] for row in kinds] == ["good", *KINDS]


def test_a_promise_is_kept_or_refused_by_val_alone(call: Call, run: Path) -> None:
    outcome = call("--evaluation", "--resume", run, "--target", "false_alarm<=0.6", "--no_report", "--workers", 0)
    assert outcome.code == 0, outcome.err
    assert "at most 60.0% false alarms, at 95% confidence, by 4 held-out good images" in outcome.out
    refused(call("--evaluation", "--resume", run, "--target", "false_alarm<=0.01", "--workers", 0), "--target", "299 could")
    refused(call("--evaluation", "--resume", run, "--calibrate", "--workers", 0), "--calibrate")


def test_a_damaged_val_image_does_not_stop_a_promise(call: Call, tmp_path: Path) -> None:
    folder = write_cloth(tmp_path / "data", good=12, tested=2, defective=1)
    fitted = call("--data", folder, *FLAGS, "--val_share", 0.4)
    assert fitted.code == 0, fitted.err
    held = next(row["path"] for row in read_rows(fitted.run / "split.csv") if row["split"] == "val")
    (folder / held).write_bytes(b"damaged")
    outcome = call("--evaluation", "--resume", fitted.run, "--target", "false_alarm<=0.6", "--no_report", "--workers", 0)
    assert outcome.code == 0, outcome.err
    assert "--target chooses without 1 unreadable val image" in outcome.out + outcome.err


def test_single_images_get_heat_a_mask_and_boxes(call: Call, run: Path, cloth: Path) -> None:
    folder = cloth / "test" / "hole"
    outcome = call("--predict", folder, "--resume", run, "--workers", 0)
    assert outcome.code == 0, outcome.err
    place = run / "predict"
    found = json.loads((place / "defects.json").read_text())
    for entry in found["images"]:
        mask = np.asarray(Image.open(place / "masks" / f"{Path(entry['path']).stem}.png"))
        assert mask.shape == (SIDE, SIDE)
        assert bool(mask.any()) == (entry["score"] >= found["threshold"]) == bool(entry["defects"])
        assert (place / "heat" / f"{Path(entry['path']).stem}.png").is_file()
    assert any(entry["defects"] for entry in found["images"])


@pytest.mark.slow
def test_exported_files_give_the_scores_of_the_evaluation(call: Call, run: Path) -> None:
    pytest.importorskip("onnxruntime")
    outcome = call("--export", "onnx", "--resume", run, "--workers", 0)
    assert outcome.code == 0, outcome.err
    for model in (run, run / "model.onnx"):
        assert call("--evaluation", "--resume", model, "--no_report", "--workers", 0).code == 0
    ours, theirs = (read_rows(run / folder / "predictions.csv") for folder in newest_two(run))
    assert [row["path"] for row in ours] == [row["path"] for row in theirs]
    for first, second in zip(ours, theirs, strict=True):
        assert float(first["score"]) == pytest.approx(float(second["score"]), abs=1e-4)


def newest_two(run: Path) -> list[str]:
    folders = sorted(run.glob("evaluation-test*"), key=lambda place: place.stat().st_mtime_ns)
    return [place.name for place in folders[-2:]]


@pytest.mark.slow
def test_the_report_and_the_tables_of_ok_and_ng_are_written(call: Call, run: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    outcome = call("--evaluation", "--resume", run, "--report_ok_ng", "--workers", 0)
    assert outcome.code == 0, outcome.err
    folder = run / newest_two(run)[-1]
    page = (folder / "report.html").read_text()
    assert all(title in page for title in ("Missed defects", "False alarms", "The strangest images", "Scores"))
    ok, ng = (openpyxl.load_workbook(folder / f"{name}.xlsx").active for name in ("ok", "ng"))
    assert ok.max_row + ng.max_row - 2 == 15
    assert len(ng._images) == 2 * (ng.max_row - 1)
    summary = openpyxl.load_workbook(folder / "summary.xlsx")
    cells = list(summary["confusion"].values)
    assert sum(sum(row[1:]) for row in cells[1:]) == 15
    assert sum(row[1] for row in list(summary["batches"].values)[1:]) == 15
    assert summary["batches"]["E2"].number_format == summary["figures"]["B2"].number_format == "0.0%"
    assert {max(picture.width, picture.height) for picture in ng._images} == {128}, "small pictures are enlarged"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--lr", 0.1), ("--lr", "--task anomaly")),
        (("--epochs", 3), ("--epochs", "--task anomaly")),
        (("--mixup",), ("--mixup", "--task anomaly")),
        (("--arch", "resnet18"), ("--arch padim or --arch patchcore",)),
        (("--arch", "padim(dims=x)"), ("--arch",)),
    ],
    ids=str,
)
def test_what_means_nothing_is_refused(call: Call, cloth: Path, flags: tuple[object, ...], words: tuple[str, ...]) -> None:
    refused(call("--data", cloth, *FLAGS, *flags), *words)
    assert not Path("runs").exists()


def test_a_fit_does_not_go_on_and_is_not_written_in_8_bits(call: Call, run: Path) -> None:
    refused(call("--resume", run), "fitted")
    refused(call("--export", "onnx", "--with_cam", "--resume", run), "--with_cam")
    refused(call("--prune", 0.3, "--resume", run), "--prune", "--task anomaly")


def test_images_that_are_far_stranger_than_the_others_are_found() -> None:
    values = dict(enumerate(np.random.default_rng(0).lognormal(2, 0.1, 200).tolist()))
    assert strangest(values) == []
    values |= {50: 40.0, 7: 90.0}
    assert strangest(values) == [7, 50]
    assert strangest({0: 1.0, 1: 100.0}) == []


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["padim(dims=30)", "patchcore(coreset=0.3)"])
def test_a_defect_among_the_training_images_is_named(call: Call, tmp_path: Path, arch: str) -> None:
    folder = write_cloth(tmp_path / "data", good=40)
    for number in (900, 901):
        write_png(piece(number, side=SIDE, kind="hole").image, folder / "train" / "good" / f"{number}.png")
    outcome = call("--data", folder, *FLAGS, "--arch", arch, "--val_share", 0.1)
    assert outcome.code == 0, outcome.err
    held = {row["path"] for row in read_rows(outcome.run / "split.csv") if row["split"] == "val"}
    for name in {"train/good/900.png", "train/good/901.png"} - held:
        assert name in outcome.out + outcome.err
