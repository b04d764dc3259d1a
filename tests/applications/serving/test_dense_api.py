"""The API of --serve for segmenters and detectors of defects: the answers of --predict, of a run and of its exported file."""

import base64
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import config
from applications.serving.app import build_app
from applications.serving.service import open_service
from dataloader.sources.shapes import write_png
from dataloader.sources.weave import KINDS
from tests.applications.conftest import Call, DenseRuns, read_rows

SMALL = ("--workers", 0)


@contextmanager
def serving(*models: Path, flags: Sequence[object] = ()) -> Iterator[TestClient]:
    """Serve models in this process."""
    with open_service(config.parse(["--serve", *map(str, models), "-j", "1", *map(str, flags)])) as service:
        yield TestClient(build_app(service, token=None, own_name="127.0.0.1"), base_url="http://127.0.0.1:8000")


def decoded(address: str) -> Image.Image:
    assert address.startswith("data:image/png;base64,")
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def test_masks_and_defects_are_those_of_predict(call: Call, dense_runs: DenseRuns, tmp_path: Path) -> None:
    segmenter, detector = dense_runs.segmenter, dense_runs.detector
    # One that is larger than a tile, and no square.
    write_png(np.random.default_rng(0).integers(0, 255, (50, 70, 3)).astype(np.uint8), tmp_path / "wide.png")
    files = [tmp_path / "wide.png", *sorted((dense_runs.cloth / "test" / KINDS[0]).glob("*.png"))]
    for run in (segmenter, detector):
        done = call("--predict", *files, "--resume", run, *SMALL)
        assert done.code == 0, done.err
    with serving(segmenter, detector) as client:
        info = client.get("/api/models").json()["models"]
        assert [(model["task"], model["threshold"] is None) for model in info] == [("segment", True), ("anomaly", False)]
        sent = [("files", (file.name, file.read_bytes())) for file in files]
        images = client.post("/api/predict?model=all&heat_map=true", files=sent).json()["images"]
        bare = client.post("/api/predict?model=all&mask=false", files=sent[:1]).json()["images"][0]["answers"]
    assert [(each["heat_map"], (each["segmentation"] or each["anomaly"])["mask"]) for each in bare] == [(None, None)] * 2
    areas = read_rows(segmenter / "predict" / "areas.csv")
    predicted = json.loads((detector / "predict" / "defects.json").read_text())
    for file, image, defects in zip(files, images, predicted["images"], strict=True):
        masks, verdict = image["answers"]
        assert all(answer["heat_map"].startswith("data:image/jpeg;base64,") for answer in (masks, verdict))
        shown = decoded(masks["segmentation"]["mask"])
        assert shown.mode == "P"
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(Image.open(segmenter / "predict" / "masks" / file.name)))
        told = {area["label"]: area["pixels"] for area in masks["segmentation"]["areas"]}
        assert told == {row["class"]: int(row["pixels"]) for row in areas if row["image"] == str(file)}
        found = verdict["anomaly"]
        assert (found["score"], found["threshold"]) == (pytest.approx(defects["score"], abs=1e-6), pytest.approx(predicted["threshold"]))
        assert ("defective" if found["defective"] else "good") == defects["answer"]
        assert [region["box"] for region in found["defects"]] == [region["box"] for region in defects["defects"]]
        written = np.asarray(Image.open(detector / "predict" / "masks" / file.name))
        np.testing.assert_array_equal(np.asarray(decoded(found["mask"])), written)


@pytest.mark.slow
def test_an_exported_file_answers_as_its_run(call: Call, dense_runs: DenseRuns) -> None:
    models = (dense_runs.segmenter, dense_runs.detector)
    for run in models:
        done = call("--export", "torchscript", "--resume", run, *SMALL)
        assert done.code == 0, done.err
    exported = [run / "model.jit.pt" for run in models]
    image = next((dense_runs.cloth / "test" / KINDS[1]).glob("*.png"))
    with serving(*models, *exported) as client:
        sent = [("files", (image.name, image.read_bytes()))]
        (found,) = client.post("/api/predict?model=all", files=sent).json()["images"]
    masks, defects, other_masks, other_defects = found["answers"]
    assert other_defects["anomaly"]["score"] == pytest.approx(defects["anomaly"]["score"], abs=1e-4)
    ours, theirs = (np.asarray(decoded(each["segmentation"]["mask"])) for each in (masks, other_masks))
    assert (ours == theirs).mean() > 0.999


def test_flags_of_labels_are_refused_in_one_line(call: Call, dense_runs: DenseRuns) -> None:
    segmenter, detector = dense_runs.segmenter, dense_runs.detector
    for argv, word in (
        ((segmenter, "--reject", 0.5), "--reject"),
        ((segmenter, "--visual_method", "grad-cam"), "--visual_method"),
        ((detector, "--visual_method", "grad-cam"), "--visual_method"),
    ):
        outcome = call("--serve", *argv, "--port", 0)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err
        assert word in outcome.err
