"""The page of an evaluation, its tables and its pictures."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from applications.evaluation import labels
from tests.applications.conftest import NETS, Call, read_rows, tiny
from utils.checkpoint import load_checkpoint

ARCH = ("--arch", f"{NETS}:TinyNet")


def report(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


@pytest.mark.parametrize("kind", ["one", "several"])
def test_the_page_stands_alone_and_its_figures_are_those_of_the_tables(call: Call, runs: dict[str, Path], kind: str) -> None:
    outcome = call("--evaluation", "--resume", runs[kind], *ARCH)
    assert outcome.code == 0, outcome.err
    folder = runs[kind] / "evaluation-test"
    page = (folder / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page), "nothing is fetched"
    assert "nan" not in re.sub(r'"data:[^"]*"', "", page)
    figures, metrics = report(folder), json.loads((folder / "metrics.json").read_text())
    headline = "top1" if kind == "one" else "mAP"
    interval = figures["intervals"][headline]
    assert interval["value"] == pytest.approx(metrics[headline])
    assert interval["low"] <= interval["value"] <= interval["high"]
    assert figures["intervals"]["loss"]["value"] == pytest.approx(metrics["loss"], rel=1e-5)
    assert figures["calibration"]["temperature"] == load_checkpoint(runs[kind] / "best.pt")["temperature"] != 1.0
    expected = {"intervals.csv", "calibration.csv", "calibration.png", "hard_images.csv", "label_issues.csv", "embedding.csv", "run.png"}
    assert expected <= {file.name for file in (folder / "figures").iterdir()}
    if kind == "one":
        assert figures["label_issues"] >= 5
        assert "wrong0.png" in page
        assert ("most of these are mistakes of the model" in page) == (metrics["top1"] < 0.8)


def test_every_cell_of_the_matrix_leads_to_its_images(call: Call, runs: dict[str, Path]) -> None:
    call("--evaluation", "--resume", runs["one"], *ARCH)
    page = (runs["one"] / "evaluation-test" / "report.html").read_text()
    links = re.findall(r'href="#(c\d+-\d+)">(\d+)</a>', page)
    assert sum(int(count) for _, count in links) == 30
    for anchor, count in links:
        view = page.partition(f'id="{anchor}"')[2].partition('class="cellview"')[0].partition("<h2")[0]
        most = 4 if anchor[1:].split("-")[0] == anchor.split("-")[1] else 12
        assert view.count("<img") == min(int(count), most)
        shares = [float(share) for share in re.findall(r"(\d+\.\d)% (?:blue|green|red)", view)]
        assert shares == sorted(shares, reverse=most == 12), "right answers: the least sure first; wrong ones: the surest"


def test_the_calibration_error_is_that_of_the_scaled_probabilities(call: Call, runs: dict[str, Path]) -> None:
    call("--evaluation", "--resume", runs["one"], *ARCH)
    folder = runs["one"] / "evaluation-test"
    found, rows = report(folder), read_rows(folder / "predictions.csv")
    shares = np.array([[float(row[name]) for name in ("blue", "green", "red")] for row in rows])
    right = np.array([row["true"] == row["predicted"] for row in rows])
    temperature = found["calibration"]["temperature"]
    bare = shares**temperature / (shares**temperature).sum(1, keepdims=True)
    for name, each in (("ece_after", shares), ("ece_before", bare)):
        steps = np.ceil(each.max(1) * 15)
        error = sum(abs((each.max(1) - right)[steps == step].sum()) for step in np.unique(steps)) / len(rows)
        assert found["calibration"][name] == pytest.approx(error, abs=1e-5)
    interval = found["intervals"]["calibration error"]
    assert interval["value"] == pytest.approx(found["calibration"]["ece_after"], abs=1e-6)
    assert interval["low"] <= interval["value"] <= interval["high"]


def test_without_a_report_none_is_written(call: Call, runs: dict[str, Path]) -> None:
    call("--evaluation", "--resume", runs["one"], *ARCH, "--no_report")
    assert not (runs["one"] / "evaluation-test" / "report.html").exists()


def test_on_val_no_image_is_scaled_by_a_temperature_that_knows_it(call: Call, runs: dict[str, Path]) -> None:
    call("--evaluation", "--resume", runs["one"], *ARCH, "--split", "val")
    folder = runs["one"] / "evaluation-val"
    figures = report(folder)["calibration"]
    assert figures["fitted_on_these_images"]
    rows = read_rows(folder / "predictions.csv")
    flattering = -np.mean([np.log(float(row[row["true"]])) for row in rows])
    assert figures["loss_after"] > flattering
    assert "fitted on these same validation images" in (folder / "report.html").read_text()


def test_heat_maps_stand_beside_the_hardest_images(call: Call, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def overlay(images, classes):
        asked.extend(classes)
        return [255 - image for image in images]

    monkeypatch.setattr(labels, "_heat_maps", lambda _: overlay)
    outcome = call("--evaluation", "--resume", runs["one"], *ARCH)
    assert outcome.code == 0, outcome.err
    page = (runs["one"] / "evaluation-test" / "report.html").read_text()
    first = page.partition('class="gallery wide"')[2].partition("data:image/jpeg;base64,")[2].partition('"')[0]
    with Image.open(io.BytesIO(base64.b64decode(first))) as picture:
        assert picture.size == (24 + 4 + 24, 20)
    assert len(asked) >= 24
    assert set(asked) <= {0, 1, 2}


def test_a_network_without_maps_is_reported_without_heat_maps(call: Call, colors: Path, tmp_path: Path) -> None:
    layers = "nn.Flatten(), nn.Linear(768, 8), nn.ReLU(), nn.Linear(8, num_classes)"
    text = f"from torch import nn\n\n\ndef build(num_classes):\n    return nn.Sequential({layers})\n"
    (tmp_path / "flat_net.py").write_text(text)
    arch = ("--arch", "flat_net.py:build")
    run = call(*tiny(colors, "--epochs", 1, *arch)).run
    outcome = call("--evaluation", "--resume", run, *arch)
    assert outcome.code == 0, outcome.err
    assert "without heat maps" in outcome.out
    assert (run / "evaluation-test" / "report.html").is_file()
