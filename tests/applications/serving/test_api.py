"""The API of --serve: the answers of --predict, for files that anybody may send."""

import io
import re
import struct
import sys
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from applications.formats import build_format
from applications.formats.deployed import deploy
from applications.formats.facts import Facts
from applications.formats.format import WriteSettings
from applications.serving.limits import Limits
from applications.trained.checkpoint import load_trained
from tests.applications.conftest import NETS, read_rows, run_once
from tests.applications.serving.conftest import Serving
from tests.applications.serving.faulty_decoder import BLOATS, CRASHES, HANGS

Files = list[tuple[str, tuple[str, bytes]]]


def as_files(**contents: bytes) -> Files:
    """Return a form with a file of each name."""
    return [("files", (name, content)) for name, content in contents.items()]


def png(size: tuple[int, int] = (20, 24), *, color: int = 200) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((*size, 3), (color, 40, 40), dtype=np.uint8)).save(file, "png")
    return file.getvalue()


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """Return a PNG of a few hundred bytes that claims billions of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def client(serving: Serving, runs: tuple[Path, Path]) -> TestClient:
    return serving(runs[0], "--max_images", 20, "--max_mb", 1, "--max_megapixels", 1, "--decode_seconds", 1.5, "-j", 2, "-b", 8)


def predicted(run: Path, colors: Path) -> dict[str, dict[str, str]]:
    run_once("--predict", colors / "test", "--resume", run, "--arch", f"{NETS}:TinyNet", "-j", 0)
    newest = max(run.glob("predict*"), key=lambda folder: folder.stat().st_mtime_ns)
    return {row["path"]: row for row in read_rows(newest / "predictions.csv")}


def test_answers_are_those_of_predict_though_they_are_batched(client, runs, colors):
    expected = predicted(runs[0], colors)
    files = [("files", (path, Path(path).read_bytes())) for path in expected]
    done = client.post("/api/predict?top=3", files=files)
    assert done.status_code == 200, done.text
    images = done.json()["images"]
    assert [image["file"] for image in images] == list(expected)
    for image in images:
        row, (answer,) = expected[image["file"]], image["answers"]
        assert ";".join(share["label"] for share in answer["labels"]) == row["predicted"]
        for share in answer["top"]:
            assert share["probability"] == pytest.approx(float(row[share["label"]]), abs=1e-6)
    sizes = [line for line in client.get("/metrics").text.splitlines() if line.startswith("darkroom_batch_images_count")]
    assert int(sizes[0].split()[-1]) < len(expected), "images of a request go through the model together"


def test_a_file_that_is_no_image_is_refused_in_a_line(client):
    for name, content, status, line in (
        ("notes.jpg", b"some text", 415, "notes.jpg: not an image, or damaged"),
        ("empty.png", b"", 415, "empty.png: the file is empty"),
        ("cut.png", png()[:60], 422, "cut.png: "),
        ("bomb.png", bomb(), 413, "bomb.png: more than 1 megapixels"),
        ("large.png", png((1100, 1000)), 413, "large.png: more than 1 megapixels"),
    ):
        done = client.post("/api/predict", files=[("files", (name, content))])
        assert done.status_code == status, done.text
        assert done.json()["detail"].startswith(line)


def test_one_bad_file_costs_its_own_answer_alone(client):
    done = client.post("/api/predict", files=as_files(good=png(), text=b"no", again=png()))
    assert done.status_code == 200
    assert [(bool(image["answers"]), image["error"]) for image in done.json()["images"]] == [
        (True, None),
        (False, "not an image, or damaged"),
        (True, None),
    ]


@pytest.mark.parametrize(("content", "line"), [(CRASHES, "the decoder crashed at it"), (HANGS, "decoding it takes more than 1.5 s")])
def test_a_file_that_breaks_the_decoder_costs_its_own_answer_alone(client, content, line):
    before = replaced(client)
    for _ in range(3):
        # More of them than processes.
        done = client.post("/api/predict", files=as_files(bad=content, good=png()))
        assert done.status_code == 200, done.text
        assert [image["error"] for image in done.json()["images"]] == [line, None]
    assert client.post("/api/predict", files=as_files(bad=content)).status_code == 422
    assert replaced(client) == before + 4


def replaced(client: TestClient) -> int:
    line = next(line for line in client.get("/metrics").text.splitlines() if line.startswith("darkroom_decoders_replaced_total "))
    return int(line.split()[1])


def test_a_decoder_that_was_ended_while_idle_is_replaced_without_a_word(serving, runs):
    client = serving(runs[0], "-j", 1)
    pool = client.app.state.service.decoders  # type: ignore[union-attr]
    (worker,) = pool._workers
    worker.process.kill()
    worker.process.join()
    assert client.post("/api/predict", files=as_files(good=png())).status_code == 200


def test_limits_of_a_request(client):
    done = client.post("/api/predict", files=[("files", (f"{n}.png", png())) for n in range(21)])
    assert (done.status_code, done.json()["detail"]) == (413, "21 images in one request; at most 20")
    done = client.post("/api/predict", files=as_files(big=bytes(1_100_000)))
    assert (done.status_code, done.json()["detail"]) == (413, "more than 1 MB in one request")
    # Without a length that could be looked at first.
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    done = client.post("/api/predict", content=iter([head, *[bytes(100_000)] * 12, b"\r\n--x--\r\n"]), headers=kind)
    assert (done.status_code, done.json()["detail"]) == (413, "more than 1 MB in one request")


def test_requests_that_make_no_sense_are_refused(client):
    assert client.post("/api/predict?model=none", files=as_files(good=png())).status_code == 404
    assert client.get("/nothing").status_code == 404
    assert client.get("/page/../app.py").status_code == 404


def test_a_request_without_images_or_with_a_wrong_parameter_is_told_in_a_line(client):
    no_images = "send a form with one image or more as files in fields 'files'"
    json_body = {"headers": {"Content-Type": "application/json"}, "content": b"{"}
    for wrong in ({}, {"data": {"files": "text"}}, {"files": [("images", ("a.png", png()))]}, json_body):
        done = client.post("/api/predict", **wrong)
        assert (done.status_code, done.json()) == (422, {"detail": no_images})
    done = client.post("/api/predict?top=0&mask=perhaps", files=as_files(good=png()))
    assert done.status_code == 422
    assert re.fullmatch(r"top: .*greater than or equal to 1; mask: .*boolean.*", done.json()["detail"])
    done = client.post("/api/predict", content=b"no form", headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert (done.status_code, type(done.json()["detail"])) == (400, str)


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is limited on Linux alone")
def test_a_file_that_takes_too_much_memory_is_refused(client):
    done = client.post("/api/predict", files=as_files(bad=BLOATS))
    assert (done.status_code, done.json()["detail"]) == (413, "bad: the memory is limited")


def test_the_server_says_that_it_is_busy(serving, runs, monkeypatch):
    client = serving(runs[0], "-j", 1)
    # The model has answered its blank images by then.
    assert client.post("/api/predict", files=as_files(good=png())).status_code == 200
    monkeypatch.setattr(Limits, "max_waiting", 2)
    (batcher,) = client.app.state.service.batchers.values()  # type: ignore[union-attr]
    usual, asked, go_on = batcher.model.answers, threading.Event(), threading.Event()

    def held(images: torch.Tensor) -> object:
        asked.set()
        assert go_on.wait(20)
        return usual(images)

    monkeypatch.setattr(batcher.model, "answers", held)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/api/predict", files=as_files(good=png(), other=png()))
        assert asked.wait(20)
        try:
            done = client.post("/api/predict", files=as_files(good=png()))
            assert (done.status_code, done.json()["detail"]) == (503, "2 images are under way; try again")
            assert done.headers["retry-after"] == "1"
        finally:
            go_on.set()
        assert first.result().status_code == 200
    assert client.post("/api/predict", files=as_files(good=png())).status_code == 200


def test_heat_maps_come_with_checkpoints(client):
    done = client.post("/api/predict?heat_map=true", files=as_files(good=png(), other=png(color=10)))
    for image in done.json()["images"]:
        assert image["answers"][0]["heat_map"].startswith("data:image/jpeg;base64,")
    done = client.post("/api/predict", files=as_files(good=png()))
    assert done.json()["images"][0]["answers"][0]["heat_map"] is None


def test_two_models_answer_side_by_side_each_as_alone(serving, runs, colors):
    client = serving(*runs, "-j", 1)
    assert [model["image_size"] for model in client.get("/api/models").json()["models"]] == [[16, 16], [20, 24]]
    expected = [predicted(run, colors) for run in runs]
    files = [("files", (path, Path(path).read_bytes())) for path in expected[0]]
    for image in client.post("/api/predict?model=all&top=3", files=files).json()["images"]:
        assert [answer["model"] for answer in image["answers"]] == ["one", "two"]
        for answer, rows in zip(image["answers"], expected, strict=True):
            for share in answer["top"]:
                assert share["probability"] == pytest.approx(float(rows[image["file"]][share["label"]]), abs=1e-6)
    assert [answer["model"] for answer in client.post("/api/predict", files=files[:1]).json()["images"][0]["answers"]] == ["one"]
    assert client.post("/api/predict?model=two", files=files[:1]).json()["images"][0]["answers"][0]["model"] == "two"


def test_answers_below_the_probability_that_counts_are_unsure(serving, runs):
    client = serving(runs[0], "--reject", 1, "-j", 1)
    (answer,) = client.post("/api/predict", files=as_files(good=png())).json()["images"][0]["answers"]
    assert answer["unsure"]
    assert not answer["labels"]
    assert len(answer["top"]) == 3


def test_several_labels_are_named_as_predict_names_them(serving, labels, colors):
    client, expected = serving(labels, "-j", 1), predicted(labels, colors)
    assert client.get("/api/models").json()["models"][0]["several_labels"]
    files = [("files", (path, Path(path).read_bytes())) for path in expected]
    for image in client.post("/api/predict", files=files).json()["images"]:
        assert ";".join(share["label"] for share in image["answers"][0]["labels"]) == expected[image["file"]]["predicted"]


@pytest.fixture
def exported(runs: tuple[Path, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes the model of the first run in a format."""

    def write(name: str) -> Path:
        trained = load_trained(runs[0], {"arch": f"{NETS}:TinyNet"}, "predict", torch.device("cpu"))
        found = build_format(name)
        parts = {"arch": "tiny", "temperature": trained.calibration.temperature}
        deployed = deploy(trained.model, trained.preprocess, "softmax", **parts)
        facts = Facts(
            task="classify", classes=trained.classes, preprocess=trained.preprocess, activation="softmax", reject=(0.4,) * 3, **parts
        )
        found.write(deployed, tmp_path / f"model{found.suffix}", replace(facts, exported_as=name), WriteSettings())
        return tmp_path / f"model{found.suffix}"

    return write


@pytest.mark.parametrize("name", ["torchscript", pytest.param("onnx", marks=pytest.mark.slow), "openvino"])
def test_an_exported_file_answers_as_its_checkpoint(serving, runs, colors, name, exported):
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}.get(name, "torch"))
    client = serving(runs[0], exported(name), "-j", 1)
    assert client.get("/api/models").json()["models"][1]["reject"] == {"blue": 0.4, "green": 0.4, "red": 0.4}
    files = [("files", (path.name, path.read_bytes())) for path in sorted((colors / "test").rglob("*.png"))[::3]]
    for image in client.post("/api/predict?model=all&heat_map=true&top=3", files=files).json()["images"]:
        ours, theirs = image["answers"]
        assert (ours["heat_map"] is None, theirs["heat_map"] is None) == (False, True)
        for mine, other in zip(ours["top"], theirs["top"], strict=True):
            assert mine["label"] == other["label"]
            assert mine["probability"] == pytest.approx(other["probability"], abs=1e-4)


def test_an_exported_file_names_several_labels_from_the_stored_thresholds_on(serving, labels, tmp_path):
    trained = load_trained(labels, {"arch": f"{NETS}:TinyNet"}, "predict", torch.device("cpu"))
    # As no network would find them by chance: every other class is named always, the others never.
    thresholds = tuple(float(place % 2) for place in range(len(trained.classes)))
    facts = Facts("tiny", "multilabel", trained.classes, trained.preprocess, "sigmoid", thresholds=thresholds)
    deployed = deploy(trained.model, trained.preprocess, "sigmoid", temperature=1.0, arch="tiny")
    build_format("torchscript").write(deployed, tmp_path / "model.jit.pt", facts, WriteSettings())
    client = serving(tmp_path / "model.jit.pt", "-j", 1)
    assert client.get("/api/models").json()["models"][0]["several_labels"]
    (answer,) = client.post("/api/predict", files=as_files(good=png())).json()["images"][0]["answers"]
    assert {share["label"] for share in answer["labels"]} == set(trained.classes[::2])


def test_a_model_that_fails_costs_its_requests_alone(serving, runs, monkeypatch):
    client = serving(runs[0], "-j", 1)
    (batcher,) = client.app.state.service.batchers.values()  # type: ignore[union-attr]
    with monkeypatch.context() as broken:
        broken.setattr(batcher.model, "answers", lambda images: images.nothing)
        done = client.post("/api/predict", files=as_files(good=png()))
        assert (done.status_code, done.json()["detail"]) == (500, "the model failed at this request; the server's terminal says why")
    assert client.post("/api/predict", files=as_files(good=png())).status_code == 200


def test_the_schema_describes_what_is_answered(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/health", "/metrics", "/api/models", "/api/predict"}
    assert {"200", "401", "413", "415", "422", "503"} <= set(paths["/api/predict"]["post"]["responses"])
    assert client.get("/health").json()["status"] == "ok"


def test_metrics_are_in_the_format_of_prometheus(client):
    client.post("/api/predict", files=as_files(good=png()))
    client.get("/a-path-that-somebody-made-up")
    lines = client.get("/metrics").text.splitlines()
    names = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {"darkroom_requests_total", "darkroom_images_total", "darkroom_predict_seconds", "process_resident_memory_bytes"} <= names
    for line in lines:
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert float(value) >= 0
            assert any(name.startswith(known) for known in names)
    assert any('path="other",status="404"' in line for line in lines), "foreign paths take no room"
    inside = [int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("darkroom_predict_seconds_bucket")]
    assert inside == sorted(inside)
    assert inside[-1] > 0
