"""--predict: the answers of evaluation, for whatever a person names."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from criterions.weighted import Criterion
from tests.applications.conftest import NETS, Call, read_rows, run_once, tiny

NET = ("--arch", f"{NETS}:TinyNet", "-j", 0)


@pytest.fixture(scope="module")
def run(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of a tiny network on three colors, with its evaluation of the test images."""
    folder = tmp_path_factory.mktemp("runs")
    run_once(*tiny(colors, "--logdir", folder, "--name", "one"))
    run = folder / "classify" / "one"
    run_once("--evaluation", "--resume", run, *NET)
    return run


def newest(run: Path) -> Path:
    """Return the folder of the last prediction."""
    return max(run.glob("predict*"), key=lambda folder: folder.stat().st_mtime_ns)


@pytest.mark.parametrize("workers", [0, 1])
def test_answers_equal_those_of_evaluation(run, colors, call: Call, workers):
    done = call("--predict", colors / "test", "--resume", run, *NET[:2], "-j", workers, "-b", 4)
    assert done.code == 0, done.err
    ours = {row["path"]: row for row in read_rows(newest(run) / "predictions.csv")}
    theirs = read_rows(run / "evaluation-test" / "predictions.csv")
    assert len(ours) == len(theirs) == 15
    for row in theirs:
        mine = ours[row["path"]]
        assert mine["predicted"] == row["predicted"]
        for name in ("blue", "green", "red"):
            assert float(mine[name]) == pytest.approx(float(row[name]), abs=1e-6)


def test_no_loss_is_computed_where_the_truth_is_unknown(run, labels, colors, call: Call, monkeypatch):
    def refuse(*_):
        raise AssertionError("a loss on no truth")

    monkeypatch.setattr(Criterion, "plain", refuse)
    monkeypatch.setattr(Criterion, "forward", refuse)
    for model in (run, labels):
        done = call("--predict", colors / "test", "--resume", model, *NET)
        assert done.code == 0, done.err
    with pytest.raises(AssertionError, match="a loss on no truth"):
        call("--evaluation", "--resume", run, *NET)


def test_unreadable_files_are_listed_and_the_rest_is_done(run, colors, call: Call, tmp_path):
    shutil.copytree(colors / "test" / "red", tmp_path / "in")
    (tmp_path / "in" / "0.png").write_bytes(b"no image")
    (tmp_path / "in" / "2.png").write_bytes(b"")
    done = call("--predict", "in", "--resume", run, *NET, "-b", 2)
    assert done.code == 1
    assert "cannot read in/0.png: not an image, or damaged" in done.out
    assert [row["path"] for row in read_rows(newest(run) / "predictions.csv")] == ["in/1.png", "in/3.png", "in/4.png"]
    content = json.loads((newest(run) / "predictions.json").read_text())
    assert [each["path"] for each in content["unreadable"]] == ["in/0.png", "in/2.png"]


def test_what_is_missing_is_listed_and_the_rest_is_done(run, colors, call: Call):
    done = call("--predict", "no.jpg", colors / "test" / "red", "*.bmp", "--resume", run, *NET)
    assert done.code == 1
    assert "cannot read no.jpg: there is no such file or folder" in done.out
    assert "5 images, 2 unreadable" in done.out
    content = json.loads((newest(run) / "predictions.json").read_text())
    assert [(each["path"], each["reason"]) for each in content["unreadable"]][1] == ("*.bmp", "nothing matches")


def test_answers_below_the_threshold_are_not_given(run, colors, call: Call):
    assert call("--predict", colors / "test", "--resume", run, *NET).code == 0
    best = sorted(max(float(row[name]) for name in ("blue", "green", "red")) for row in read_rows(newest(run) / "predictions.csv"))
    limit = (best[6] + best[7]) / 2
    done = call("--predict", colors / "test", "--resume", run, "--reject", limit, "--top_k", 2, *NET)
    assert done.code == 0
    assert sum(not row["predicted"] for row in read_rows(newest(run) / "predictions.csv")) == 7
    assert "15 images, 7 without an answer" in done.out
    images = json.loads((newest(run) / "predictions.json").read_text())["images"]
    assert sum(not image["labels"] for image in images) == 7
    assert all(len(image["top"]) == 2 for image in images)


def test_copies_carry_the_answer_and_features_make_the_logits(run, colors, call: Call):
    done = call("--predict", colors / "test" / "red", "--resume", run, "--annotate", "--embed", *NET)
    assert done.code == 0, done.err
    copies = sorted((newest(run) / "annotated").iterdir())
    assert [copy.name for copy in copies] == [f"0000{number + 1}-{number}.jpg" for number in range(5)]
    with Image.open(copies[0]) as copy:
        assert copy.height > 120
    with np.load(newest(run) / "features.npz") as file:
        features, paths = file["features"], file["paths"]
    assert paths.tolist() == [f"{colors}/test/red/{number}.png" for number in range(5)]
    content = torch.load(run / "best.pt", weights_only=True)
    state = content["state_dict"]
    logits = features @ state["net.head.weight"].numpy().T + state["net.head.bias"].numpy()
    probabilities = torch.from_numpy(logits / content["temperature"]).softmax(1).numpy()
    told = [[float(row[name]) for name in ("blue", "green", "red")] for row in read_rows(newest(run) / "predictions.csv")]
    np.testing.assert_allclose(probabilities, told, atol=1e-5)


def test_what_calibration_stored_rejects_unless_another_bound_is_given(run, colors, call: Call, tmp_path):
    content = torch.load(run / "best.pt", weights_only=True) | {"reject": [2.0, 0.0, 0.0]}
    torch.save(content, tmp_path / "careful.pt")
    named = []
    for more in ((), ("--reject", 0)):
        done = call("--predict", colors / "test", "--resume", tmp_path / "careful.pt", "--logdir", tmp_path / "mine", *more, *NET)
        assert done.code == 0, done.err
        folder = sorted((tmp_path / "mine").rglob("predictions.json"), key=lambda file: file.stat().st_mtime_ns)[-1]
        named.append({label["label"] for image in json.loads(folder.read_text())["images"] for label in image["labels"]})
        assert ("--reject 0 turns these off" in done.out) == (not more)
    assert named == [{"green", "red"}, {"blue", "green", "red"}]


def test_a_model_of_several_labels_names_all_that_reach_their_threshold(labels, colors, call: Call):
    done = call("--predict", colors / "test", "--resume", labels, *NET)
    assert done.code == 0, done.err
    rows = read_rows(newest(labels) / "predictions.csv")
    thresholds = torch.load(labels / "best.pt", weights_only=True)["thresholds"]
    classes = ("blue", "cold", "green", "red", "warm")
    for row in rows:
        named = {name for name, threshold in zip(classes, thresholds, strict=True) if float(row[name]) >= threshold}
        assert set(filter(None, row["predicted"].split(";"))) == named
    assert any(";" in row["predicted"] for row in rows)


def test_frames_of_a_video_are_images(run, call: Call, tmp_path):
    video = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 32))
    for _ in range(30):
        video.write(np.full((32, 32, 3), (40, 50, 200), np.uint8))
    video.release()
    done = call("--predict", "film.avi", "--resume", run, "--frames", 2, "--limit", 5, "--annotate", *NET)
    assert done.code == 0, done.err
    rows = read_rows(newest(run) / "predictions.csv")
    assert [row["path"] for row in rows] == [f"film.avi#{seconds:.2f}" for seconds in (0, 0.5, 1, 1.5, 2)]
    assert {row["predicted"] for row in rows} == {"red"}
    assert len(list((newest(run) / "annotated").iterdir())) == 5


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--predict", "no.jpg", "--resume", "@"], "--predict no.jpg: there is no such file or folder"),
        (["--predict", "no.jpg"], "--predict needs --resume"),
        (["--predict", ".", "--resume", "@"], "no images there"),
        (["--predict", ".", "--reject", 2, "--resume", "@"], "--reject 2.0: write a probability"),
        (["--predict", ".", "--top_k", 0, "--resume", "@"], "--top_k must be above 0"),
        (["--predict", ".", "--gpus", 2, "--resume", "@"], "--gpus belongs to training and does nothing"),
    ],
)
def test_mistakes_are_told_in_one_line(run, call: Call, flags, message):
    before = sorted(run.rglob("*"))
    done = call(*(run if part == "@" else part for part in flags), *NET)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert sorted(run.rglob("*")) == before


def test_views_of_single_images_are_refused_where_the_task_does_not_join_them(run, colors, call: Call):
    done = call("--predict", colors / "val", "--tta", "hflip", "--resume", run, *NET)
    assert done.code == 2
    assert "--predict --tta is for joining views of single images, which --task classify" in done.err
