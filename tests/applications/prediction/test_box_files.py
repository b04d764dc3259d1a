"""The boxes that --predict writes are read back by the readers of training data, equal in every format."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from applications.prediction.box_files import BoxWriter
from applications.tasks.box_answers import BoxAnswer
from dataloader.opening.open_catalog import open_catalog
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


def test_coco_is_read_back(written: Path) -> None:
    check(written / "coco.json", set(SIZES))


def test_the_table_is_read_back(written: Path) -> None:
    check(written / "boxes.csv", {"a.png", "b.png"})


def test_yolo_is_read_back_with_its_scores(written: Path) -> None:
    for name in ("labels", "classes.txt"):
        shutil.move(written / name, written.parent / name)
    shutil.rmtree(written)
    check(written.parent, set(SIZES))
