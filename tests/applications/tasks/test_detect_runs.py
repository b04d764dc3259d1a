"""Detection from main.py: it trains, is evaluated on the original images as COCO does, and answers with boxes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from applications.trained.boxes import ImageDetector
from dataloader.sources.shapes import CLASSES, scene, write_png
from tests.applications.conftest import Call, read_rows

COUNTS = {"train": 16, "val": 6, "test": 4}
FLAGS = (
    *("--task", "detect", "--arch", "yolox_nano", "--image_size", 32, 32, "-b", 8, "--workers", 0),
    *("--lr", 0.01, "--warmup", 0, "--precision", "fp32", "--epochs", 1),
)


@pytest.fixture(scope="module")
def framed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return images of 48 pixels with boxes in YOLO's text; the last of each split shows nothing."""
    home, first = tmp_path_factory.mktemp("framed"), 0
    for split, count in COUNTS.items():
        for folder in ("images", "labels"):
            (home / folder / split).mkdir(parents=True)
        for number in range(first, first + count):
            made = scene(number, side=48)
            write_png(made.image, home / "images" / split / f"{number:03d}.png")
            shares = np.concatenate([(made.boxes[:, :2] + made.boxes[:, 2:]) / 2, made.boxes[:, 2:] - made.boxes[:, :2]], axis=1) / 48
            lines = [f"{label} {' '.join(map(str, box))}\n" for label, box in zip(made.classes.tolist(), shares.tolist(), strict=True)]
            (home / "labels" / split / f"{number:03d}.txt").write_text("".join(lines) if number < first + count - 1 else "")
        first += count
    (home / "data.yaml").write_text(f"names: {list(CLASSES)}\n")
    return home


@pytest.mark.slow
def test_a_run_is_evaluated_on_the_original_images_and_answers_with_boxes(call: Call, framed: Path) -> None:
    trained = call("--data", framed, *FLAGS, "--name", "one", "--aug", "flip")
    assert trained.code == 0, trained.err
    outcome = call("--evaluation", "--resume", trained.run)
    assert outcome.code == 0, outcome.err
    folder = trained.run / "evaluation-test"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert f"test: AP {metrics['AP']:.2%}  AP50 {metrics['AP50']:.2%}" in outcome.out
    low, high = metrics["intervals"]["AP"]
    assert low <= metrics["AP"] <= high
    assert set(metrics["errors"]) == {"Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"}
    for name in ("errors.csv", "confusion.csv", "curves.csv", "images.csv", "mistakes.csv"):
        assert (folder / "figures" / name).is_file()
    answered = call("--predict", framed / "images" / "test", "--resume", trained.run, "--conf", 0.0005, "--annotate", "--cut_out_boxes")
    assert answered.code == 0, answered.err
    place = trained.run / "predict"
    rows, coco = read_rows(place / "boxes.csv"), json.loads((place / "coco.json").read_text())
    assert len(rows) == len(coco["annotations"]) > 0
    assert all(0 <= float(row["left"]) < float(row["right"]) <= 48 for row in rows)
    assert [image["width"] for image in coco["images"]] == [48] * COUNTS["test"]
    assert sum(len(file.read_text().splitlines()) for file in (place / "labels").glob("*.txt")) == len(rows)
    with Image.open(next((place / "annotated").glob("*.png"))) as copy:
        assert copy.size == (48, 48)
    assert len(list((place / "cut_outs").rglob("*.png"))) == len(rows)
    # At the same least score the answers of both are the same.
    again = call("--evaluation", "--resume", trained.run, "--conf", 0.0005, "--no_report")
    assert again.code == 0, again.err
    listed = read_rows(trained.run / "evaluation-test-2" / "boxes.csv")
    assert sorted(round(float(row["score"]), 3) for row in listed) == sorted(
        round(float(row["score"]), 3) for row in rows if float(row["score"]) >= 0.001
    )


@pytest.mark.slow
def test_a_video_is_answered_and_an_interrupt_leaves_what_was_answered(
    call: Call, framed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = call("--data", framed, *FLAGS, "--name", "film")
    assert trained.code == 0, trained.err
    film = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (48, 48))
    for number in range(12):
        film.write(np.ascontiguousarray(scene(number, side=48).image[:, :, ::-1]))
    film.release()
    asked = ("--predict", "film.avi", "--resume", trained.run, "--conf", 0.0005, "--frames", 5, "--annotate", "-b", 4)
    answered = call(*asked)
    assert answered.code == 0, answered.err
    images = json.loads((trained.run / "predict" / "boxes.json").read_text())["images"]
    assert [(image["frame"], image["seconds"]) for image in images] == [(number, number / 10) for number in range(0, 12, 2)]
    assert cv2.VideoCapture(str(trained.run / "predict" / "annotated" / "film.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 6
    looks, whole = [], ImageDetector.look

    def interrupted(self: ImageDetector, pixels: Tensor) -> Tensor:
        looks.append(len(pixels))
        if len(looks) > 1:
            raise KeyboardInterrupt
        return whole(self, pixels)

    monkeypatch.setattr(ImageDetector, "look", interrupted)
    assert call(*asked).code == 130
    left = json.loads((trained.run / "predict-2" / "boxes.json").read_text())["images"]
    assert left == images[:4]
    assert cv2.VideoCapture(str(trained.run / "predict-2" / "annotated" / "film.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 4


@pytest.mark.slow
def test_heat_maps_show_what_boxes_hang_on_and_those_of_labels_are_refused(call: Call, framed: Path) -> None:
    trained = call("--data", framed, *FLAGS, "--name", "three")
    assert trained.code == 0, trained.err
    shown = call("--visual_data", "test", "--visual_method", "d-rise", "--resume", trained.run, "--limit", 2)
    assert shown.code == 0, shown.err
    rows = read_rows(trained.run / "visual-test" / "images.csv")
    assert len(rows) == 2
    assert all((trained.run / "visual-test" / row["picture"]).is_file() for row in rows)
    refused = call("--visual_data", "test", "--visual_method", "grad-cam", "--resume", trained.run)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "--visual_method grad-cam is for models that answer labels; take d-rise" in refused.err


@pytest.mark.slow
def test_tiles_and_views_answer_with_boxes_of_the_whole_image(call: Call, framed: Path) -> None:
    trained = call("--data", framed, *FLAGS, "--name", "two")
    assert trained.code == 0, trained.err
    for flags in (("--tiles",), ("--tta",)):
        outcome = call("--evaluation", "--resume", trained.run, "--no_report", *flags)
        assert outcome.code == 0, outcome.err
        answered = call("--predict", framed / "images" / "test", "--resume", trained.run, "--conf", 0.0005, *flags)
        assert answered.code == 0, answered.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--conf", 2), "--conf 2 is a score, from 0 to 1"),
        (("--nms", -0.5), "--nms -0.5 is an overlap of two boxes, from 0 to 1"),
        (("--max_detections", 0), "--max_detections must be above 0, not 0"),
    ],
)
def test_values_that_mean_nothing_are_one_line(call: Call, tmp_path: Path, flags: tuple[object, ...], message: str) -> None:
    outcome = call("--evaluation", "--resume", tmp_path, *flags)
    assert outcome.code == 2
    assert outcome.err.strip() == message or message in outcome.err
