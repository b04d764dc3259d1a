"""The boxes that --predict writes are read back by the readers of training data, equal in every format."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from applications.prediction.box_files import BoxWriter
from applications.tasks.box_answers import BoxAnswer
from dataloader.opening.open_catalog import open_catalog
from dataloader.sources.frames import Frame
from dataloader.targets.boxes import Boxes

NAMES = ("cat", "dog", "red fox")
SIZES = {"a.png": (48, 64), "b.png": (200, 31), "none.png": (20, 20)}


def answer(name: str) -> BoxAnswer:
    """Return boxes on hundredths of a pixel, as they are written."""
    if name == "none.png":
        return BoxAnswer(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))
    height, width = SIZES[name]
    corners = np.array([[0, 0, width, height], [3.25, 4.5, 20.75, 17], [1, 2, 3.01, 4]], np.float32)
    return BoxAnswer(corners, np.array([0.9, 0.5, 0.25], np.float32), np.array([2, 0, 1]))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Return a folder of --predict beside the images."""
    (tmp_path / "predict").mkdir()
    (tmp_path / "images").mkdir()
    writer = BoxWriter(tmp_path / "predict", NAMES)
    for name, (height, width) in SIZES.items():
        Image.new("RGB", (width, height)).save(tmp_path / "images" / name)
        writer.add(str(tmp_path / "images" / name), np.zeros((height, width, 3), np.uint8), answer(name))
    assert writer.close() == 0
    return tmp_path / "predict"


def check(place: Path, images: set[str]) -> None:
    catalog = open_catalog(str(place), require_train=False, target=Boxes, val_share=0.0)
    assert catalog.classes == NAMES
    found = {Path(path).name: split.target(number) for split in catalog.splits.values() for number, path in enumerate(split.paths)}
    assert set(found) == images
    for name, boxes in found.items():
        assert isinstance(boxes, Boxes)
        wanted = answer(name)
        order, other = np.argsort(wanted.classes), np.argsort(boxes.classes)
        assert boxes.classes[other].tolist() == wanted.classes[order].tolist()
        np.testing.assert_allclose(boxes.corners[other], wanted.corners[order], atol=2e-3)


def test_frames_of_videos_have_their_numbers_and_one_annotated_film_each(tmp_path: Path) -> None:
    writer = BoxWriter(tmp_path, NAMES, annotate=True)
    picture = np.full((49, 65, 3), 40, np.uint8)
    for film in ("one/film.mp4", "two/film.mp4"):
        for number in (0, 3, 6):
            frame = Frame(film, number, number / 30, 10.0, picture)
            writer.add(frame.name, picture, answer("a.png"), frame)
    writer.add("photo.png", picture, answer("a.png"))
    assert writer.close() == 0
    entries = json.loads((tmp_path / "coco.json").read_text())["images"]
    assert [(each.get("video"), each.get("frame")) for each in entries[2:5]] == [
        ("one/film.mp4", 6), ("two/film.mp4", 0), ("two/film.mp4", 3)
    ]  # fmt: skip
    assert "frame" not in entries[-1]
    with (tmp_path / "boxes.csv").open(newline="") as file:
        assert [row["frame"] for row in csv.DictReader(file)] == [number for number in ["0", "3", "6", "0", "3", "6", ""] for _ in range(3)]
    labels = sorted(file.name for file in (tmp_path / "labels").iterdir())
    assert labels[:2] == ["film-000000-2.txt", "film-000000.txt"]
    assert sorted(file.name for file in (tmp_path / "annotated").iterdir()) == ["film-2.mp4", "film.mp4", "photo.png"]
    copy = cv2.VideoCapture(str(tmp_path / "annotated" / "film-2.mp4"))
    assert (copy.get(cv2.CAP_PROP_FPS), copy.get(cv2.CAP_PROP_FRAME_COUNT)) == (10.0, 3.0)
    done, first = copy.read()
    assert done
    assert first.shape == (48, 64, 3)
    # The frame of the first box lies along the upper edge.
    assert np.abs(first[0].astype(int) - 40).max() > 40
    assert np.abs(first[30:40, 30:40].astype(int) - 40).max() < 20


def test_coco_is_read_back(written: Path) -> None:
    check(written / "coco.json", set(SIZES))


def test_the_table_is_read_back(written: Path) -> None:
    check(written / "boxes.csv", {"a.png", "b.png"})


def test_yolo_is_read_back_with_its_scores(written: Path) -> None:
    for name in ("labels", "classes.txt"):
        shutil.move(written / name, written.parent / name)
    shutil.rmtree(written)
    check(written.parent, set(SIZES))
