"""Thresholds for a --target, and calibration that is stored."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from scipy.stats import binomtest

from tests.applications.conftest import NETS, Call, read_rows
from utils.checkpoint import load_checkpoint

ARCH = ("--arch", f"{NETS}:TinyNet")
# A limit that 36 validation images can prove.
WIDE = "error<=0.6"


def report(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


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


def test_a_limit_that_too_few_images_can_prove_is_refused_with_the_number_that_would_be_enough(call: Call, runs: dict[str, Path]) -> None:
    for kind, target, what in (
        ("one", "error<=0.01", "accepted"),
        ("one", "miss<=0.01", "accepted"),
        ("several", "miss<=0.01", "promised"),
    ):
        before = (runs[kind] / "best.pt").read_bytes()
        outcome = call("--evaluation", "--resume", runs[kind], *ARCH, "--target", target, "--calibrate")
        assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err
        images = 36 if kind == "one" else 12
        said = f"--target '{target}': nothing can be {what} at this limit with {images} validation images; about ([0-9,]+) would be enough"
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
    # Ten images have labels; none of them may miss one where 30% is to be proven.
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
