"""Every verb either works for segmenters and for detectors of defects, or refuses in one line and writes nothing."""

from pathlib import Path

import pytest

from applications import APPLICATIONS
from tests.applications.conftest import Call, DenseRuns

SMALL = ("--workers", 0)
SEGMENT = ("--task", "segment", "--arch", "unet", "--encoder", "mobilenetv3_small", "--image_size", 32, 32, "-b", 8)
ANOMALY = ("--task", "anomaly", "--arch", "padim(dims=8)", "--encoder", "mobilenetv3_small")
# Verbs that tests of their own call with both tasks: test_segment_runs.py, test_anomaly_runs.py, comparison/test_dense.py,
# serving/test_dense_api.py; a sweep is trainings.
ELSEWHERE = {"train", "predict", "compare", "serve", "jit", "sweep"}
# Verbs that know no task: names, runs, schedules, networks, moved files, the layout of labels.
WITHOUT_TASK = {"list", "undo", "convert_yolov5", "table", "print_schedule", "info", "convert_labels"}
WORKS, REFUSES = True, False
# They write files in several formats, or train.
SLOW = {"export best", "export --half", "benchmark", "find_lr"}
# verb -> flags, where {run} and {data} are filled in; whether it works for a segmenter, and for a detector.
VERBS: dict[str, tuple[tuple[str, ...], bool, bool]] = {
    "evaluation": (("--evaluation", "--resume", "{run}", "--no_report"), WORKS, WORKS),
    "evaluation --calibrate": (("--evaluation", "--resume", "{run}", "--calibrate"), REFUSES, REFUSES),
    "evaluation --target": (("--evaluation", "--resume", "{run}", "--target", "miss<=0.1"), REFUSES, REFUSES),
    "predict --embed": (("--predict", "{data}", "--resume", "{run}", "--embed"), REFUSES, REFUSES),
    "predict --annotate": (("--predict", "{data}", "--resume", "{run}", "--annotate"), REFUSES, REFUSES),
    "explain": (("--visual_data", "test", "--visual_method", "grad-cam", "--resume", "{run}"), REFUSES, REFUSES),
    "export --with_cam": (("--export", "onnx", "--with_cam", "--resume", "{run}"), REFUSES, REFUSES),
    "export hub": (("--export", "hub", "--resume", "{run}"), REFUSES, REFUSES),
    "export --half": (("--export", "onnx", "--half", "--resume", "{run}"), WORKS, WORKS),
    "export best": (("--export", "best", "--resume", "{run}"), WORKS, WORKS),
    "benchmark": (("--benchmark", "{run}"), WORKS, WORKS),
    "prune": (("--prune", "0.3", "--resume", "{run}"), REFUSES, REFUSES),
    "knowledge": (("--knowledge", "{run}"), REFUSES, REFUSES),
    "make_curriculum": (("--make_curriculum", "{run}"), REFUSES, REFUSES),
    "visual_data": (("--visual_data", "train", "--data", "{data}", "--task", "{kind}", "--limit", "2"), WORKS, WORKS),
    "write_matrix": (("--write_matrix", "costs.csv", "--data", "{data}", "--task", "{kind}"), REFUSES, REFUSES),
    "probe": (("--probe", "--data", "{data}", "{task}"), REFUSES, REFUSES),
    "find_lr": (("--find_lr", "--data", "{data}", "{task}"), WORKS, REFUSES),
    "prepare": (("--prepare", "prepared", "--data", "{data}", "--task", "{kind}"), REFUSES, REFUSES),
    "shard": (("--shard", "shards", "--data", "{data}", "--task", "{kind}"), REFUSES, REFUSES),
    "check": (("--check", "--data", "{data}", "--task", "{kind}"), WORKS, WORKS),
    "check --fix": (("--check", "--fix", "--data", "{data}", "--task", "{kind}"), REFUSES, REFUSES),
    "train --distill": (("--data", "{data}", "{task}", "--teacher", "{run}"), REFUSES, REFUSES),
}


def filled(flags: tuple[str, ...], run: Path, data: Path, task: tuple[object, ...]) -> list[object]:
    """Return the command line of a row."""
    found: list[object] = []
    for flag in flags:
        found += list(task) if flag == "{task}" else [flag.format(run=run, data=data, kind=task[1])]
    return found


def contents(*folders: Path) -> set[Path]:
    return {path for folder in folders for path in folder.rglob("*")}


@pytest.mark.parametrize("kind", ["segment", "anomaly"])
@pytest.mark.parametrize("verb", [pytest.param(verb, marks=pytest.mark.slow) if verb in SLOW else verb for verb in VERBS])
def test_a_verb_works_or_refuses_in_one_line(call: Call, dense_runs: DenseRuns, tmp_path: Path, verb: str, kind: str) -> None:
    flags, *outcomes = VERBS[verb]
    run, data, task = (
        (dense_runs.segmenter, dense_runs.scenes, SEGMENT) if kind == "segment" else (dense_runs.detector, dense_runs.cloth, ANOMALY)
    )
    before = contents(tmp_path, run, data)
    more = SMALL if verb.split()[0] not in ("write_matrix", "benchmark") else ()
    outcome = call(*filled(flags, run, data, task), *more)
    assert "Traceback" not in outcome.out + outcome.err
    if outcomes[kind == "anomaly"] is WORKS:
        assert outcome.code in (0, 1), outcome.err
        return
    assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.out + outcome.err
    assert contents(tmp_path, run, data) == before, "nothing is left behind"


def test_no_verb_is_forgotten() -> None:
    assert {verb.split()[0] for verb in VERBS} | ELSEWHERE | WITHOUT_TASK == set(APPLICATIONS)
