"""A segmenter that several processes measure or train gets the counts of one process."""

import json
from pathlib import Path

import pytest

from tests.applications.conftest import Call, DenseRuns, read_rows, start
from tests.applications.dense_data import SEGMENT

FILES = ("confusion.csv", "classes.csv")


def in_two(*argv: object, folder: Path) -> str:
    """Run main.py in two processes; return what they said."""
    process = start(*argv, "--nproc", 2, folder=folder)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return out


@pytest.mark.parametrize("more", [(), pytest.param(("--tiles",), marks=pytest.mark.slow)], ids=["whole", "tiles"])
def test_two_processes_count_the_pixels_that_one_counts(call: Call, dense_runs: DenseRuns, tmp_path: Path, more: tuple[str, ...]) -> None:
    # A checkpoint alone, so that results lie in --logdir; six images of which each process has three, in batches of two.
    flags = ("--evaluation", "--resume", dense_runs.segmenter / "best.pt", "--no_report", "--workers", 0, "--split", "val", "-b", 4, *more)
    folder = dense_runs.segmenter / "evaluation-val"
    before = set(dense_runs.segmenter.glob("evaluation-val*"))
    alone = call(*flags)
    assert alone.code == 0, alone.err
    in_two(*flags, folder=tmp_path)
    one, two = sorted(set(dense_runs.segmenter.glob("evaluation-val*")) - before)
    assert folder.name in one.name
    for name in FILES:
        assert (one / name).read_text() == (two / name).read_text(), name
    first, second = (json.loads((each / "metrics.json").read_text()) for each in (one, two))
    assert second["loss"] == pytest.approx(first["loss"], rel=1e-5)
    for name in ("mIoU", "pixel_accuracy", "dice", "boundary_f1", "intervals", "images"):
        assert second[name] == first[name], name


@pytest.mark.slow
def test_what_two_processes_trained_is_measured_as_they_measured_it(call: Call, dense_runs: DenseRuns, tmp_path: Path) -> None:
    # At the size of the images, where validation and evaluation compare the same masks.
    flags = [*SEGMENT, "--image_size", 48, 48, "--epochs", 2, "--aug", "flip", "--ema", 0.5, "--name", "two"]
    said = in_two("--data", dense_runs.scenes, *flags, folder=tmp_path)
    assert said.count("done: best val") == 1, "one process speaks"
    run = tmp_path / "runs" / "segment" / "two"
    best = max(read_rows(run / "metrics.csv"), key=lambda row: float(row["val_mIoU"]))
    measured = call("--evaluation", "--resume", run, "--no_report", "--workers", 0, "--split", "val")
    assert measured.code == 0, measured.err
    metrics = json.loads((run / "evaluation-val" / "metrics.json").read_text())
    for name in ("mIoU", "pixel_accuracy", "dice", "loss"):
        assert metrics[name] == pytest.approx(float(best[f"val_{name}"]), rel=1e-5), name
