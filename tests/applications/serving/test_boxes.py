"""A served detector answers with the boxes of --predict, and draws them over the image."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from applications.serving.boxes import ServedBoxes
from applications.serving.served_model import ModelFacts, Wanted
from tests.applications.conftest import Call
from tests.applications.serving.test_dense_api import SMALL, serving
from tests.applications.tasks.test_detect_runs import FLAGS, framed
from tests.applications.trained.rectangles import CLASSES, draw, perfect_detector

__all__ = ["framed"]


def served(side: int) -> ServedBoxes:
    detector = perfect_detector(side)
    return ServedBoxes(detector, ModelFacts("m", "detect", "", CLASSES, False, None, detector.trained.preprocess, "boxes", True, 0.5))


def test_boxes_are_in_pixels_of_the_image_that_was_sent() -> None:
    model = served(64)
    large, small = draw((512, 1024), [(160, 80, 480, 400), (640, 32, 800, 160)], [2, 0]), draw((32, 32), [], [])
    said = model.ask([large, small], [True, False])
    answer, empty = (model.write(each, Wanted(drawn=drawn)) for each, drawn in zip(said, (True, False), strict=True))
    assert answer.detection is not None
    assert [(box.label, box.box) for box in answer.detection.boxes] == [
        ("blue", pytest.approx([160, 80, 320, 320], abs=16)),
        ("red", pytest.approx([640, 32, 160, 128], abs=16)),
    ]
    assert answer.heat_map is not None
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer.heat_map.partition(",")[2]))))
    assert shown.shape == large.shape
    color = np.array([int(answer.detection.boxes[0].color[place : place + 2], 16) for place in (1, 3, 5)])
    # The upper edge of the frame, in the color that the answer names.
    assert np.abs(shown[64:96, 400].astype(int) - color).sum(1).min() < 90
    assert (empty.detection, empty.heat_map) == (type(answer.detection)(boxes=[]), None)


@pytest.mark.slow
def test_a_run_answers_as_predict(call: Call, framed: Path) -> None:
    trained = call("--data", framed, *FLAGS, "--name", "one")
    assert trained.code == 0, trained.err
    least = ("--conf", 0.0005, "--max_detections", 5)
    images = sorted((framed / "images" / "test").glob("*.png"))
    assert call("--predict", *images, "--resume", trained.run, *SMALL, *least).code == 0
    predicted = json.loads((trained.run / "predict" / "boxes.json").read_text())["images"]
    with serving(trained.run, flags=least) as client:
        (info,) = client.get("/api/models").json()["models"]
        assert (info["task"], info["heat_map"], info["threshold"]) == ("detect", "boxes", 0.0005)
        sent = [("files", (image.name, image.read_bytes())) for image in images]
        answers = client.post("/api/predict?heat_map=true", files=sent).json()["images"]
    assert sum(len(each["boxes"]) for each in predicted) > 0
    for answer, wanted in zip(answers, predicted, strict=True):
        (found,) = answer["answers"]
        boxes = found["detection"]["boxes"]
        assert [box["label"] for box in boxes] == [box["class"] for box in wanted["boxes"]]
        for box, other in zip(boxes, wanted["boxes"], strict=True):
            left, top, right, bottom = other["box"]
            assert [box["score"], *box["box"]] == pytest.approx([other["score"], left, top, right - left, bottom - top], abs=0.02)
        assert found["heat_map"].startswith("data:image/jpeg;base64,")


@pytest.mark.slow
def test_flags_of_labels_are_refused_in_one_line(call: Call, framed: Path) -> None:
    trained = call("--data", framed, *FLAGS, "--name", "two")
    assert trained.code == 0, trained.err
    for flags in (("--reject", 0.5), ("--visual_method", "grad-cam")):
        outcome = call("--serve", trained.run, *flags, "--port", 0)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err
        assert flags[0] in outcome.err
