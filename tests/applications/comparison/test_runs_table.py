"""--table: what is listed of runs, and that its figures are those of their own files."""

import json
from pathlib import Path

import pytest
from PIL import Image

from applications.comparison.runs_table import telling_names
from models import build_model
from tests.applications.conftest import Call, read_rows, tiny


def test_runs_are_listed_with_the_figures_of_their_own_files(call: Call, colors: Path) -> None:
    small = ("--arch", "mobilenetv3_small", "--image_size", 32, 32, "-b", 20)
    measured = call(*tiny(colors, *small, "--name", "measured")).run
    own = call(*tiny(colors, "--name", "own", "--epochs", 3)).run
    assert call("--evaluation", "--no_report", "--resume", measured).code == 0
    assert call("--evaluation", "--no_report", "--resume", measured, "--split", "val").code == 0
    outcome = call("--table", "runs")
    assert outcome.code == 0, outcome.err
    rows = {row["run"]: row for row in read_rows(Path("runs/table/table/table.csv"))}
    assert set(rows) == {"classify/measured", "classify/own"}
    one, two = rows["classify/measured"], rows["classify/own"]
    facts = json.loads((measured / "evaluation-test/metrics.json").read_text())
    assert (one["figure"], one["test"], two["test"]) == ("top1", f"{facts['top1']:.2%}", "")
    for row, run in ((one, measured), (two, own)):
        curves = read_rows(run / "metrics.csv")
        assert float(row["val"].rstrip("%")) == pytest.approx(100 * max(float(each["val_top1"]) for each in curves), abs=0.01)
        assert int(row["epochs"]) == len(curves)
        assert float(row["minutes"]) == pytest.approx(sum(float(each["seconds"]) for each in curves) / 60, abs=0.006)
    parameters = sum(each.numel() for each in build_model("mobilenetv3_small", num_classes=3).parameters())
    assert one["parameters (M)"] == f"{parameters / 1e6:.2f}"
    assert float(one["multiply-adds (M)"]) > 0
    assert two["parameters (M)"] == "", "code of the user's own is not imported unasked"
    text = Path("runs/table/table/table.md").read_text().splitlines()
    assert len(text) == 4
    assert len({line.count(" | ") for line in text}) == 1
    with Image.open("runs/table/table/table.png") as picture:
        assert picture.size[0] > 400


def test_what_cannot_be_listed_is_said(call: Call, colors: Path) -> None:
    for place, said in (("nowhere", "there is no folder nowhere"), (colors, "there is no run")):
        outcome = call("--table", place)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1)
        assert said in outcome.err
    run = call(*tiny(colors, "--name", "broken")).run
    call(*tiny(colors, "--name", "whole"))
    (run / "best.pt").write_bytes(b"broken")
    outcome = call("--table", "runs")
    assert outcome.code == 0, outcome.err
    assert "left out runs/classify/broken" in outcome.out


def test_a_run_that_was_stopped_before_its_first_epoch_ended_is_named_with_the_way_on(call: Call, colors: Path) -> None:
    call(*tiny(colors, "--name", "whole"))
    stopped = call(*tiny(colors, "--name", "stopped")).run
    (stopped / "best.pt").unlink()
    outcome = call("--table", "runs")
    assert outcome.code == 0, outcome.err
    said = f"left out {stopped}: it was stopped before its first epoch ended; go on with python main.py --resume {stopped}"
    assert said in outcome.out
    assert "left out runs/classify/whole" not in outcome.out


@pytest.mark.parametrize(
    ("runs", "shown"),
    [
        (["classify/20261121-184633-resnet18", "classify/20261121-190210-resnet18"], ["184633-resnet18", "190210-resnet18"]),
        (["classify/one", "multilabel/one"], ["classify/one", "multilabel/one"]),
        (["classify/resnet18", "classify/resnet34"], ["resnet18", "resnet34"]),
        (["classify/fold-0", "classify/fold-1"], ["0", "1"]),
        (["classify/alone"], ["alone"]),
        (["alone"], ["alone"]),
    ],
)
def test_names_in_the_picture_are_what_tells_runs_apart(runs: list[str], shown: list[str]) -> None:
    assert telling_names(runs) == shown
