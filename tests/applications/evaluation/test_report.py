"""The page of an evaluation, thresholds for a target, calibration that is stored, and views."""

import base64
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest

from applications.evaluation import evaluate
from applications.evaluation.tta import AveragedViews, parse_views
from applications.report import classify
from applications.report.labels import several_suspects, suspects
from models import build_model
from tests.applications.conftest import NETS, Call, read_rows, tiny, write_colors
from tests.applications.tasks.test_multilabel_runs import BCE, write_squares
from utils.checkpoint import load_checkpoint
from utils.errors import UserError

ARCH = ("--arch", f"{NETS}:TinyNet")
# A limit that 36 validation images can prove.
WIDE = "error<=0.6"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return data and two finished runs: one label an image, several labels an image."""
    import main

    folder = tmp_path_factory.mktemp("runs")
    data = write_colors(folder / "data", {"train": 20, "val": 10, "test": 8})
    for split in ("val", "test"):
        # Two images of every class get the label of the next one: mistakes to find.
        for name, other in zip(("blue", "green", "red"), ("green", "red", "blue"), strict=True):
            for number in range(2):
                shutil.copy(data / split / name / f"{number}.png", data / split / other / f"wrong{number}.png")
    squares = write_squares(folder / "squares", 80)
    logs = ("--logdir", folder / "logs")
    assert main.main([str(part) for part in tiny(data, "--name", "one", *logs, "--epochs", 1)]) == 0
    assert main.main([str(part) for part in tiny(squares, *BCE, "--name", "several", *logs)]) == 0
    return {"one": folder / "logs/classify/one", "several": folder / "logs/multilabel/several", "data": data}


@pytest.fixture
def runs(made: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """Return copies that a test may change."""
    copies = {name: Path(shutil.copytree(made[name], tmp_path / "runs" / name)) for name in ("one", "several")}
    return {**copies, "data": made["data"]}


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
        assert ("most of these doubts are mistakes of its own" in page) == (metrics["top1"] < 0.8)


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


def test_answers_of_one_probability_are_accepted_together() -> None:
    confidence = np.array([1.0] * 50 + [0.6] * 10)
    right = np.array([True] * 45 + [False] * 5 + [True] * 10)
    threshold, coverage, accuracy = classify.accepting(confidence, right)
    assert threshold.tolist() == [1.0, 0.6]
    assert coverage.tolist() == pytest.approx([50 / 60, 1.0])
    assert accuracy.tolist() == pytest.approx([0.9, 55 / 60])


def test_a_wished_accuracy_is_one_of_other_images_too() -> None:
    confidence = np.array([1.0] * 100 + [0.6] * 100)
    right = np.arange(200) < 150
    # 100 right answers of 100 prove 97 % at 95 % confidence, and not 98 %.
    assert classify.granted(0.97, confidence, right) == ["50.0 %", "1.0000", "100.0 %"]
    assert classify.granted(0.98, confidence, right)[0].startswith("none: about ")
    assert classify.granted(0.5, confidence, right) == ["100.0 %", "0.6000", "75.0 %"]
    assert classify.granted(0.9, confidence, ~right) == ["none", "-", "-"]


@pytest.mark.parametrize(("threshold", "above", "shown"), [(0.99998, 0.5, "0.9999"), (0.99998, 0.99996, "0.99998"), (0.5, 0.0, "0.5000")])
def test_a_shown_threshold_accepts_what_it_is_said_to(threshold: float, above: float, shown: str) -> None:
    assert classify.rounded_down(threshold, above=above) == shown
    assert above < float(shown) <= threshold


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


def test_a_target_is_kept_on_val_stored_and_used_by_evaluation_and_the_converted_file(call: Call, runs: dict[str, Path]) -> None:
    run = runs["one"]
    weights = load_checkpoint(run / "best.pt")["state_dict"]
    outcome = call("--evaluation", "--resume", run, *ARCH, "--target", WIDE, "--split", "val", "--no_report")
    assert outcome.code == 0, outcome.err
    assert load_checkpoint(run / "best.pt")["reject"] is None, "without --calibrate nothing is stored"
    outcome = call("--evaluation", "--resume", run, *ARCH, "--target", WIDE, "--calibrate", "--split", "val")
    assert outcome.code == 0, outcome.err
    assert "stored" in outcome.out
    content = load_checkpoint(run / "best.pt")
    assert all((content["state_dict"][name] == weights[name]).all() for name in weights)
    rows = read_rows(run / "evaluation-val-2" / "predictions.csv")
    reject = dict(zip(("blue", "green", "red"), content["reject"], strict=True))
    accepted = [row for row in rows if float(row[row["predicted"]]) >= reject[row["predicted"]]]
    wrong = sum(row["true"] != row["predicted"] for row in accepted)
    [group] = json.loads((run / "evaluation-val-2" / "metrics.json").read_text())["target_groups"]
    assert group == {"classes": ["blue", "green", "red"], "count": len(accepted), "failures": wrong}
    assert binomtest(wrong, len(accepted), 0.6, alternative="less").pvalue <= 0.05
    assert f"<td>blue, green, red together</td><td>{len(accepted)}</td><td>{wrong}</td>" in re.sub(
        " class=[^>]*", "", (run / "evaluation-val-2" / "report.html").read_text()
    )
    outcome = call("--evaluation", "--resume", run, *ARCH)
    kept = json.loads((run / "evaluation-test" / "metrics.json").read_text())
    assert "accepted:" in outcome.out
    assert kept["accepted"] == pytest.approx(report(run / "evaluation-test")["rejection"]["kept"]["all"]["accepted"])
    assert call("--jit", "--resume", run, *ARCH).code == 0
    extra = {"darkroom.json": ""}
    torch.jit.load(str(run / "model.jit.pt"), _extra_files=extra)
    card = json.loads(extra["darkroom.json"])
    assert (card["reject"], card["temperature"]) == (content["reject"], content["temperature"])
    assert "write it again with --export torchscript" in call("--evaluation", "--resume", run, *ARCH, "--calibrate", "--no_report").out
    assert load_checkpoint(run / "best.pt")["reject"] is None, "without a target no answer is rejected"


def test_the_images_that_chose_the_thresholds_are_said_to_prove_nothing(call: Call, runs: dict[str, Path]) -> None:
    run, val = runs["one"], ("--split", "val", "--no_report")
    outcome = call("--evaluation", "--resume", run, *ARCH, "--target", WIDE, "--calibrate", *val)
    [accepted] = [line for line in outcome.out.splitlines() if line.startswith("accepted:")]
    assert accepted.endswith("on the images that chose the thresholds, which proves nothing")
    [checked] = [line for line in outcome.out.splitlines() if line.startswith("checked:")]
    assert "chosen on four fifths of these images and measured on the last" in checked
    figures = json.loads((run / "evaluation-val" / "metrics.json").read_text())
    assert figures["target_checked"].keys() == {"accepted", "wrong of those"}
    assert figures["target_broken"] == {}, "these images cannot break it"
    # Stored, they are still those of these images; other images may judge.
    assert "which proves nothing" in call("--evaluation", "--resume", run, *ARCH, *val).out
    assert "which proves nothing" not in call("--evaluation", "--resume", run, *ARCH, "--split", "test", "--no_report").out
    outcome = call("--evaluation", "--resume", runs["several"], *ARCH, "--target", "miss<=0.3", *val)
    assert "checked: missed of the labels" in outcome.out


def test_a_limit_that_too_few_images_can_prove_is_refused_with_the_number_that_would_do(call: Call, runs: dict[str, Path]) -> None:
    for kind, target, what in (
        ("one", "error<=0.01", "accepted"),
        ("one", "miss<=0.01", "accepted"),
        ("several", "miss<=0.01", "promised"),
    ):
        before = (runs[kind] / "best.pt").read_bytes()
        outcome = call("--evaluation", "--resume", runs[kind], *ARCH, "--target", target, "--calibrate")
        assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err
        images = 36 if kind == "one" else 12
        said = f"--target '{target}': nothing can be {what} at this limit with {images} validation images; about ([0-9,]+) would do"
        found = re.search(said, outcome.err)
        assert found is not None, outcome.err
        assert int(found[1].replace(",", "")) >= 299, "the rule of three"
        assert (runs[kind] / "best.pt").read_bytes() == before
        assert not (runs[kind] / "evaluation-test").exists()


def test_labels_take_the_thresholds_of_a_target(call: Call, runs: dict[str, Path]) -> None:
    run = runs["several"]
    before = load_checkpoint(run / "best.pt")["thresholds"]
    outcome = call("--evaluation", "--resume", run, *ARCH, "--target", "miss<=0.3", "--calibrate", "--split", "val", "--no_report")
    assert outcome.code == 0, outcome.err
    after = load_checkpoint(run / "best.pt")["thresholds"]
    assert after != before
    rows = read_rows(run / "evaluation-val" / "predictions.csv")
    missed = [set(row["true"].split(";")) - set(row["predicted"].split(";")) for row in rows if row["true"]]
    # Ten images have labels; none of them may miss one where 30 % is to be proven.
    assert not any(missed)


def test_refitting_the_temperature_on_the_same_images_changes_nothing(call: Call, runs: dict[str, Path]) -> None:
    for run in (runs["one"], runs["several"]):
        before = load_checkpoint(run / "best.pt")
        call("--evaluation", "--resume", run, *ARCH, "--calibrate", "--no_report")
        after = load_checkpoint(run / "best.pt")
        assert after["temperature"] == pytest.approx(before["temperature"], rel=1e-3)
        assert after["thresholds"] == (None if before["thresholds"] is None else pytest.approx(before["thresholds"], abs=1e-3))


def test_thresholds_are_those_of_the_new_temperature(call: Call, runs: dict[str, Path]) -> None:
    run, flags = runs["one"], (*ARCH, "--calibrate", "--target", WIDE, "--no_report")
    assert "and thresholds in" in call("--evaluation", "--resume", run, *flags).out
    content = load_checkpoint(run / "best.pt")
    torch.save({**content, "temperature": 5.0}, run / "best.pt")
    assert call("--evaluation", "--resume", run, *flags).code == 0
    after = load_checkpoint(run / "best.pt")
    assert after["temperature"] == pytest.approx(content["temperature"], rel=1e-3)
    assert after["reject"] == pytest.approx(content["reject"], abs=1e-3)


def test_a_promise_that_other_images_break_is_told(call: Call, runs: dict[str, Path], tmp_path: Path) -> None:
    run, data = runs["one"], tmp_path / "turned"
    shutil.copytree(runs["data"] / "val", data / "val")
    for name, other in zip(("blue", "green", "red"), ("green", "red", "blue"), strict=True):
        shutil.copytree(runs["data"] / "test" / name, data / "test" / other)
    outcome = call("--evaluation", "--resume", run, *ARCH, "--target", WIDE, "--data", data)
    assert outcome.code == 0, outcome.err
    folder = Path(re.search("written   (.*) \\(", outcome.out)[1])  # pyright: ignore[reportOptionalSubscript]
    [(name, share)] = json.loads((folder / "metrics.json").read_text())["target_broken"].items()
    said = f"{WIDE} is not kept on these images, by more than chance explains: {name} ({share:.1%})"
    assert f"warning: --target {said}" in outcome.out
    assert f'<p class="bad">{said.replace("<", "&lt;")}' in (folder / "report.html").read_text()
    kept = report(folder)["rejection"]
    assert kept["broken"] == {name: share}
    assert share == pytest.approx(kept["kept"]["all"]["error"])
    assert report(folder)["target"] == WIDE


def test_mistakes_are_told_in_one_line_and_leave_the_checkpoint_alone(call: Call, runs: dict[str, Path], tmp_path: Path) -> None:
    run = runs["one"]
    before = (run / "best.pt").read_bytes()
    only_test = tmp_path / "only"
    shutil.copytree(runs["data"] / "test", only_test / "test")
    for flags, said in (
        (("--target", "mis<=1"), "Did you mean miss?"),
        (("--calibrate", "--data", only_test), "chooses on val images"),
        (("--calibrate", "--tta"), "--tta"),
        (("--tta", "hflip|spin"), "hflip, vflip, scale"),
        (("--tta", "scale(0)"), "factors from"),
    ):
        outcome = call("--evaluation", "--resume", run, *ARCH, *flags)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err
        assert said in outcome.err
    outcome = call("--data", runs["data"], *ARCH, "--target", "miss<=0.1")
    assert (outcome.code, "belongs to --evaluation" in outcome.err) == (2, True)
    assert (run / "best.pt").read_bytes() == before
    assert not list(run.glob("evaluation*"))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_views_give_the_mean_of_their_probabilities(activation: str) -> None:
    torch.manual_seed(0)
    network = build_model(f"{NETS}:TinyNet", num_classes=4).eval()
    images = torch.rand(3, 3, 20, 24)
    views = parse_views("hflip|vflip|scale(0.75,1.5)", (20, 24))
    assert len(views) == 12
    assert {view.size for view in views} == {(20, 24), (15, 18), (30, 36)}
    squash = torch.sigmoid if activation == "sigmoid" else lambda logits: logits.softmax(1)
    with torch.no_grad():
        # Answers that differ much from view to view: else the mean of the logits is nearly that of the probabilities.
        weight, bias = network.get_classifier().parameters()
        weight *= 1000
        bias -= torch.stack([network(view.of(images)) for view in views]).mean((0, 1))
        logits = torch.stack([network(view.of(images)) for view in views])
        expected = squash(logits.flatten(0, 1)).unflatten(0, logits.shape[:2]).mean(0)
        assert (expected - squash(logits.mean(0))).abs().max() > 0.05
        torch.testing.assert_close(squash(AveragedViews(network, views, activation)(images)), expected)
        torch.testing.assert_close(squash(AveragedViews(network, views[:1], activation)(images)), squash(network(images)))


def test_evaluation_looks_at_every_view(call: Call, runs: dict[str, Path]) -> None:
    outcome = call("--evaluation", "--resume", runs["one"], *ARCH, "--tta", "hflip|scale(1.25)", "--no_report")
    assert outcome.code == 0, outcome.err
    assert "4 an image" in outcome.out


def test_wrong_labels_are_suspected() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 200)
    shares = np.full((200, 4), 0.04)
    shares[np.arange(200), truth] = 0.88
    given = truth.copy()
    given[[5, 50, 120]] = (given[[5, 50, 120]] + 1) % 3
    assert set(suspects(given, shares)) == {5, 50, 120}
    labels = rng.random((200, 3)) < 0.4
    answers = np.where(labels, 0.9, 0.1)
    wrong = labels.copy()
    wrong[7, 1] ^= True
    assert several_suspects(wrong, answers).tolist() == [7]


def test_a_scale_is_refused_where_the_network_takes_one_size_alone() -> None:
    class Strict(type(build_model(f"{NETS}:TinyNet", num_classes=2))):
        def check_size(self, image_size: tuple[int, int]) -> None:
            if image_size != (20, 24):
                raise UserError("20x24 only")

    network = build_model(f"{NETS}:TinyNet", num_classes=2)
    network.__class__ = Strict
    with pytest.raises(UserError, match="20x24"):
        AveragedViews(network, parse_views("scale(2)", (20, 24)), "softmax")


def test_heat_maps_stand_beside_the_hardest_images(call: Call, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def overlay(images, classes):
        asked.extend(classes)
        return [255 - image for image in images]

    monkeypatch.setattr(evaluate, "_heat_maps", lambda _: overlay)
    outcome = call("--evaluation", "--resume", runs["one"], *ARCH)
    assert outcome.code == 0, outcome.err
    page = (runs["one"] / "evaluation-test" / "report.html").read_text()
    first = page.partition('class="gallery wide"')[2].partition("data:image/jpeg;base64,")[2].partition('"')[0]
    with Image.open(io.BytesIO(base64.b64decode(first))) as picture:
        assert picture.size == (24 + 4 + 24, 20)
    assert len(asked) >= 24
    assert set(asked) <= {0, 1, 2}


@pytest.mark.parametrize("truth", [[[1, 0], [1, 1], [1, 0]], [[0, 0]] * 3, [[1, 0], [0, 0], [0, 0]]], ids=["always", "never", "once"])
def test_labels_that_nothing_can_be_said_of_are_not_doubted(truth: list[list[int]]) -> None:
    assert several_suspects(np.array(truth, dtype=bool), np.full((3, 2), 0.5)).tolist() == []


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
