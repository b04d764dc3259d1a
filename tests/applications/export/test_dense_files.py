"""Files of segmenters, detectors and detectors of defects in every precision, measured like those of classifiers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from applications.formats.deployed import Deployed
from applications.formats.int8 import ROUGHLY
from tests.applications.conftest import Call, DenseRuns, read_rows, run_once
from tests.applications.dense_data import write_cloth
from tests.applications.export.test_convert import break_parts, wrong_mean, wrong_order

pytestmark = pytest.mark.slow
NO_WORKERS = ("--workers", 0)
DETECT = ("--task", "detect", "--data", "shapes", "--arch", "yolox_nano", "--image_size", 64, 64, "-b", 32, *NO_WORKERS)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a detector that finds some objects: boxes of one that knows nothing turn with every rounding."""
    home = tmp_path_factory.mktemp("boxes")
    run_once(*DETECT, "--epochs", 12, "--lr", 4e-3, "--logdir", home, "--name", "boxes")
    return home / "detect" / "boxes"


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fitted PatchCore."""
    home = tmp_path_factory.mktemp("patches")
    cloth = write_cloth(home / "cloth", good=10, tested=2, defective=1)
    detector = ("--arch", "patchcore(coreset=0.1)", "--encoder", "mobilenetv3_small", "--val_share", 0.4)
    run_once("--data", cloth, *detector, *NO_WORKERS, "--logdir", home, "--name", "patches")
    return home / "anomaly" / "patches"


@pytest.fixture(params=["segment", "detect", "anomaly"])
def run(request: pytest.FixtureRequest, dense_runs: DenseRuns, boxes: Path) -> Path:
    """Return a run of each dense task."""
    return {"segment": dense_runs.segmenter, "detect": boxes, "anomaly": dense_runs.detector}[request.param]


def record_of(run: Path, name: str) -> dict:
    return json.loads((run / f"parity-{name}.json").read_text())


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_8_bits_are_compared_by_the_figure_and_by_class(name: str, call: Call, run: Path) -> None:
    pytest.importorskip("nncf")
    flags = ("--conf", 0.01) if run.parent.name == "detect" else ()
    outcome = call("--export", name, "--int8", "--int8_images", 10, "--max_drop", 1, "--resume", run, *flags, *NO_WORKERS)
    assert outcome.code == 0, outcome.out + outcome.err
    record = record_of(run, f"{name}-int8")
    assert record["kept"]
    assert record["file"]["precision"] == "int8"
    assert record["full_precision"]["median_seconds"] > 0
    assert not any(note.startswith(ROUGHLY) for note in record["notes"])
    assert "Layers in floating point: " in (run / f"parity-{name}-int8.md").read_text()
    if run.parent.name == "anomaly":
        assert not all(layer.startswith("encoder.") for layer in record["floating"]), "distances are left as they are"
        assert record["parity"]["largest"] > 1e-5, "the encoder rounds"
    else:
        assert record["parity"]["classes"]


@pytest.mark.parametrize("name", ["onnx", "openvino", "torchscript"])
def test_16_bits_answer_as_the_model(name: str, call: Call, run: Path) -> None:
    outcome = call("--export", name, "--half", "--resume", run, *NO_WORKERS)
    assert outcome.code == 0, outcome.out + outcome.err
    assert record_of(run, f"{name}-half")["parity"]["largest"] > 1e-6


@pytest.mark.parametrize("change", [wrong_mean, wrong_order])
def test_16_bits_of_a_broken_segmenter_are_refused(
    change: Callable[[Deployed], None], call: Call, dense_runs: DenseRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_parts(change)(monkeypatch)
    outcome = call("--export", "onnx", "--half", "--resume", dense_runs.segmenter, *NO_WORKERS)
    assert outcome.code == 1
    assert "answers otherwise than the model" in outcome.out


def test_a_checkpoint_and_its_files_stand_in_one_table(call: Call, run: Path) -> None:
    flags = ("--conf", 0.01) if run.parent.name == "detect" else ()
    assert call("--export", "onnx,torchscript", "--resume", run, *flags, *NO_WORKERS).code == 0
    files = (run, run / "model.onnx", run / "model.jit.pt")
    outcome = call("--benchmark", *files, *flags, "--split", "test", "--logdir", "out", "--name", "all")
    assert outcome.code == 0, outcome.out + outcome.err
    rows = read_rows(Path("out/benchmark/all/benchmark.csv"))
    assert {row["kind"] for row in rows} == {"checkpoint", "onnx", "torchscript"}
    headline = {"segment": "mIoU", "detect": "AP of the answered boxes", "anomaly": "AUROC"}[run.parent.name]
    assert len({row[headline] for row in rows}) == 1, "one model, and one figure, called what it is"
    assert json.loads(Path("out/benchmark/all/benchmark.json").read_text())["headline"] == headline


def test_patchcore_passes_in_onnx_and_openvino(call: Call, patches: Path) -> None:
    outcome = call("--export", "onnx,openvino", "--resume", patches, *NO_WORKERS)
    assert outcome.code == 0, outcome.out + outcome.err
    for name in ("onnx", "openvino"):
        assert record_of(patches, name)["parity"]["largest"] < 1e-4
