"""Claims about exported files: each is measured, compared and looked into like its checkpoint, in its own runtime."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from applications.explain.heat_maps import ExplainedBatch
from applications.explain.heat_overlays import normalized, open_explainer
from applications.settings.options import Request, RunConfig
from applications.trained.any_model import load_model
from tests.applications.conftest import NETS, ROOT, Call, read_rows, run_once, tiny

NET = Path(__file__).parent.parent / "map_net.py"
ARCH = ("--arch", f"{NET}:MapNet")
FILES = ("model.jit.pt", "model.onnx", "model.xml")


@pytest.fixture(scope="session")
def run(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with a temperature of its own, exported in three formats with all outputs."""
    folder = tmp_path_factory.mktemp("exported")
    run_once(*tiny(colors, "--logdir", folder, "--name", "one", "--image_size", 24, 16), *ARCH)
    place = folder / "classify" / "one"
    run_once("--export", "torchscript,onnx,openvino", "--resume", place, *ARCH, "--with_features", "--with_cam")
    return place


@pytest.fixture
def own(run: Path, tmp_path: Path) -> Path:
    """Return a copy of the run for this test alone."""
    return Path(shutil.copytree(run, tmp_path / "copy"))


def figures(folder: Path) -> tuple[dict, list[dict[str, str]]]:
    return json.loads((folder / "metrics.json").read_text()), read_rows(folder / "predictions.csv")


def test_an_exported_file_is_measured_like_its_checkpoint(call: Call, own: Path) -> None:
    assert call("--evaluation", "--no_report", "--resume", own, *ARCH).code == 0
    expected, rows = figures(own / "evaluation-test")
    classes = ("blue", "green", "red")
    for number, name in enumerate(FILES, start=2):
        outcome = call("--evaluation", "--no_report", "--resume", own / name)
        assert outcome.code == 0, outcome.err
        found, said = figures(own / f"evaluation-test-{number}")
        assert found["exported_as"] == {".pt": "torchscript", ".onnx": "onnx", ".xml": "openvino"}[Path(name).suffix]
        for key in ("top1", "temperature", "epoch", "images", "trained_on"):
            assert found.get(key) == expected.get(key), key
        assert found["loss"] == pytest.approx(expected["loss"], abs=1e-4)
        assert [(row["path"], row["true"], row["predicted"]) for row in said] == [
            (row["path"], row["true"], row["predicted"]) for row in rows
        ]
        shares = [np.array([[float(row[label]) for label in classes] for row in each]) for each in (said, rows)]
        np.testing.assert_allclose(*shares, atol=2e-6)


def test_the_report_of_a_file_has_maps_where_the_file_shows_them(call: Call, own: Path) -> None:
    outcome = call("--evaluation", "--resume", own / "model.onnx")
    assert outcome.code == 0, outcome.err
    assert "without" not in outcome.out + outcome.err
    report = json.loads((own / "evaluation-test" / "report.json").read_text())
    assert report["cost"]["file_bytes"] == (own / "model.onnx").stat().st_size
    assert (own / "evaluation-test" / "figures" / "embedding.csv").is_file()


def test_the_report_of_a_bare_file_says_what_it_goes_without(call: Call, own: Path) -> None:
    assert call("--export", "onnx", "--resume", own, *ARCH).code == 0
    outcome = call("--evaluation", "--resume", own / "model.onnx")
    assert outcome.code == 0, outcome.err
    said = outcome.out + outcome.err
    assert "the report comes without heat maps" in said
    assert "the report comes without a map of the images" in said
    assert (own / "evaluation-test" / "report.html").is_file()
    for flags, words in ((("--visual_method", "cam"), "write it --with_cam"), (("--visual_method", "grad-cam"), "has no class map")):
        refused = call(*flags, "--resume", own / "model.onnx")
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert words in refused.err


def test_a_file_with_a_class_map_is_looked_into(call: Call, own: Path) -> None:
    outcome = call("--visual_method", "all", "--limit", 4, "--resume", own / "model.xml")
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("left out: an exported file shows a class map alone") == 1
    assert len(list((own / "visual-test").rglob("*.png"))) >= 4
    assert call("--visual_method", "cam", "--limit", 4, "--resume", own, *ARCH).code == 0
    refused = call("--visual_method", "grad-cam", "--resume", own / "model.xml")
    assert refused.code == 2
    assert "shows a class map alone" in refused.err


def test_the_class_map_of_a_file_is_the_cam_of_its_network(own: Path) -> None:
    pictures = [torch.randint(0, 256, (3, 24, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    classes, maps = torch.tensor([0, 2, 1]), []
    for place, given in ((own, {"arch": ARCH[1]}), (own / "model.onnx", {})):
        trained = load_model(str(place), Request("explain", RunConfig(), given), torch.device("cpu"))
        look = ExplainedBatch(open_explainer(trained), normalized(trained, pictures))
        maps.append(look.explainer.class_map(look, classes))
    assert maps[0].shape == maps[1].shape
    assert np.ptp(maps[0], axis=(1, 2)).min() > 1e-3
    # The map of a file has the bias of the class in it, the same everywhere.
    np.testing.assert_allclose(np.ptp(maps[1] - maps[0], axis=(1, 2)), 0, atol=1e-4)


@pytest.mark.parametrize("name", FILES)
def test_the_copied_demo_gives_the_labels_of_evaluation(name: str, call: Call, own: Path, colors: Path, tmp_path: Path) -> None:
    assert call("--evaluation", "--no_report", "--resume", own, *ARCH).code == 0
    rows = read_rows(own / "evaluation-test" / "predictions.csv")
    device = tmp_path / "device"
    device.mkdir()
    for file in (ROOT / "demos" / "classifier.py", own / name, *own.glob("*.bin")):
        shutil.copy(file, device)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "classifier.py", name, str(colors / "test"), "--json", "--threads", "1"]
    done = subprocess.run(command, cwd=device, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    answers = {answer["path"]: answer["top"][0] for answer in map(json.loads, done.stdout.splitlines())}
    assert len(answers) == len(rows) == 15
    for row in rows:
        best = answers[row["path"]]
        assert best["label"] == row["predicted"]
        assert best["probability"] == pytest.approx(float(row[row["predicted"]]), abs=2e-6)


def test_files_are_compared_with_their_checkpoint(call: Call, own: Path, tmp_path: Path) -> None:
    outcome = call("--compare", own / "model.onnx", own / "model.jit.pt", "--logdir", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    content = json.loads((tmp_path / "out" / "compare" / "comparison" / "compare.json").read_text())
    (pair,) = content["comparisons"].values()
    assert (pair["right_alone"], pair["first_right_alone"]) == (0, 0)


def test_predict_gives_the_answers_of_the_checkpoint(call: Call, own: Path, colors: Path) -> None:
    for place in (own, *(own / name for name in FILES)):
        assert call("--predict", colors / "test", "--embed", "--resume", place, *(ARCH if place == own else ())).code == 0
    folders = [own / ("predict" if number == 1 else f"predict-{number}") for number in range(1, 5)]
    expected, *others = [read_rows(folder / "predictions.csv") for folder in folders]
    features = [np.load(folder / "features.npz")["features"] for folder in folders]
    for rows, vectors in zip(others, features[1:], strict=True):
        assert [(row["path"], row["predicted"]) for row in rows] == [(row["path"], row["predicted"]) for row in expected]
        np.testing.assert_allclose(vectors, features[0], atol=1e-4)


def test_several_labels_keep_their_thresholds(call: Call, labels: Path, tmp_path: Path) -> None:
    own, arch = Path(shutil.copytree(labels, tmp_path / "copy")), ("--arch", f"{NETS}:TinyNet")
    assert call("--export", "onnx", "--resume", own, *arch).code == 0
    assert call("--evaluation", "--no_report", "--resume", own, *arch).code == 0
    assert call("--evaluation", "--no_report", "--resume", own / "model.onnx").code == 0
    (expected, rows), (found, said) = figures(own / "evaluation-test"), figures(own / "evaluation-test-2")
    assert found["task"] == "multilabel"
    assert [row["predicted"] for row in said] == [row["predicted"] for row in rows]
    assert found["mAP"] == pytest.approx(expected["mAP"])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--calibrate",), "calibrate its run, then export that again"),
        (("--tta", "hflip"), "looks at an image once"),
        (("--image_size", 32, 32), "has this in itself"),
        (("--precision", "bf16"), "has this in itself"),
        (("--arch", "resnet18"), "leave it out"),
        (("--num_classes", 4), "has 3; leave it out"),
    ],
)
def test_what_a_file_cannot_do_is_refused_in_one_line(flags: tuple, words: str, call: Call, run: Path) -> None:
    outcome = call("--evaluation", "--resume", run / "model.onnx", *flags)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert words in outcome.err


def test_a_file_alone_needs_its_images_named(call: Call, run: Path, colors: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copy(run / "model.onnx", tmp_path / "alone.onnx"))
    outcome = call("--evaluation", "--no_report", "--resume", alone)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "name them: --data DIR" in outcome.err
    outcome = call("--evaluation", "--no_report", "--resume", alone, "--data", colors, "--logdir", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert "does not say which images it was trained on" in outcome.out


@pytest.mark.parametrize("action", [("--export", "onnx"), ("--prune", 0.5), ("--jit",)])
def test_a_file_is_no_checkpoint(action: tuple, call: Call, run: Path) -> None:
    outcome = call(*action, "--resume", run / "model.onnx")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "give the run or the checkpoint that it came from" in outcome.err
