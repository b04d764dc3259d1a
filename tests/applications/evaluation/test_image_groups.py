"""Where the images of a run come in groups, promise, intervals and comparison count groups, and say so."""

import json
from pathlib import Path

from tests.applications.conftest import NETS, Call, read_rows, tiny, write_colors

ARCH = ("--arch", f"{NETS}:TinyNet")


def test_a_run_with_groups_is_evaluated_and_compared_over_groups(call: Call, tmp_path: Path) -> None:
    data, groups = write_colors(tmp_path / "data", {"train": 12, "val": 24, "test": 12}), tmp_path / "groups.csv"
    paths = sorted(file.relative_to(data) for file in data.rglob("*.png"))
    lines = [f"{path.as_posix()},{path.parent}{int(path.stem) // 4}" for path in paths]
    groups.write_text("\n".join(["image,group", *lines]) + "\n")
    runs = [call(*tiny(data, "--group_by", groups, "--epochs", 1, "--seed", seed, "--name", f"seed{seed}")).run for seed in (1, 2)]
    run = runs[0]
    outcome = call("--evaluation", "--resume", run, *ARCH, "--target", "error<=0.9")
    assert outcome.code == 0, outcome.err
    assert "by 72 validation images in 18 groups, one of each counted: " in outcome.out
    facts = json.loads((run / "evaluation-test" / "metrics.json").read_text())
    assert facts["target_image_groups"] == 18
    assert facts["target_groups"][0]["count"] <= 18
    page = (run / "evaluation-test" / "report.html").read_text()
    assert "Intervals of 95% over 9 groups:" in page
    assert "Wilson intervals of 95% over 9 groups." in page
    outcome = call("--compare", runs[0], runs[1], *ARCH)
    assert outcome.code == 0, outcome.err
    folder = tmp_path / "runs" / "compare" / "comparison"
    found = json.loads((folder / "compare.json").read_text())
    assert found["comparisons"]["seed2"]["groups"] == 9
    assert ", over 9 groups" in outcome.out
    assert "paired bootstrap over the 9 groups" in (folder / "compare.html").read_text()
    # An evaluation that is read as it is knows them, too.
    rows = read_rows(run / "evaluation-test" / "groups.csv")
    assert [row["image"] for row in rows] == [row["path"] for row in read_rows(run / "evaluation-test" / "predictions.csv")]
    call("--compare", run / "evaluation-test", run / "evaluation-test")
    again = json.loads((tmp_path / "runs" / "compare" / "comparison-2" / "compare.json").read_text())
    assert [pair["groups"] for pair in again["comparisons"].values()] == [9]
    groups.unlink()
    outcome = call("--evaluation", "--resume", run, *ARCH, "--no_report")
    assert outcome.code == 0, outcome.err
    assert "every image counts for itself" in outcome.err + outcome.out
