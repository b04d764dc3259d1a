"""Masks and boxes are read as their files say, and mistakes in them are told in one line."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataloader.images.read import ImageError
from dataloader.opening.open_catalog import open_catalog
from dataloader.sources import shapes
from dataloader.sources.box_coco import read_coco
from dataloader.sources.box_sets import open_boxes
from dataloader.sources.mask_files import MaskFolder, read_mask
from dataloader.sources.shape_truths import shape_boxes, shape_masks
from dataloader.sources.shapes import CLASSES, open_shapes, scene
from dataloader.targets.boxes import Boxes
from dataloader.targets.defect import Defect
from dataloader.truth_reading import USUAL
from utils.errors import UserError


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "COUNTS", {"train": 2, "val": 1, "test": 1})
        patch.setattr(shapes, "GOOD", {"train": 3, "test": 2})
        patch.setattr(shapes, "DEFECTIVE", 2)
        home = tmp_path_factory.mktemp("home")
        open_shapes(home)
        yield home


def test_masks_and_boxes_of_the_scenes_are_those_that_were_drawn(home: Path) -> None:
    images = open_shapes(home)
    masks, boxes = shape_masks(images), shape_boxes(images)
    assert masks.classes == ("ground", *boxes.classes) == ("ground", *CLASSES)
    for split in open_catalog(str(images)).splits.values():
        for path in split.paths:
            true, found = scene(int(Path(path).stem)), boxes.read(path)
            assert np.array_equal(masks.read(path).ids, true.mask)
            assert np.array_equal(found.corners, true.boxes)
            assert np.array_equal(found.classes, true.classes)
            assert found.image_size() == (64, 64)


def test_the_anomaly_data_are_learned_from_good_scenes_alone_and_tested_with_the_masks_of_defects(home: Path) -> None:
    catalog = open_catalog(str(open_shapes(home).parent / "defects"), target=Defect)
    train, test = (catalog.splits[name] for name in ("train", "test"))
    assert (len(train), len(catalog.splits["val"]), train.targets.tolist()) == (2, 1, [0, 0])
    assert sorted(test.targets.tolist()) == [0, 0, 1, 1, 1, 1]
    for split in (train, test):
        for index, path in enumerate(split.paths):
            _, kind, name = path.split("/")
            target, true = split.target(index), scene(int(Path(name).stem), defect="" if kind == "good" else kind)
            assert isinstance(target, Defect)
            assert (target.kind, target.kind != "good") == (kind, bool(split.targets[index]))
            assert np.array_equal(split.read(index), true.image)
            assert np.array_equal(target.mask.ids == 1, true.defect)


@pytest.mark.parametrize(("mode", "dtype"), [("L", np.uint8), ("P", np.uint8), ("I;16", np.uint16), ("1", np.uint8)])
def test_a_mask_has_the_numbers_of_its_file(tmp_path: Path, mode: str, dtype: type) -> None:
    ids = np.random.default_rng(0).integers(0, 2 if mode == "1" else 200, (5, 7)).astype(dtype)
    image = Image.fromarray(ids.astype(bool)) if mode == "1" else Image.fromarray(ids)
    if mode == "P":
        # The color of number n is 255 - n.
        image.putpalette([255 - number // 3 for number in range(768)])
        assert image.mode == "P"
    image.save(tmp_path / "one.png")
    found = MaskFolder(tmp_path, ("ground", "thing")).read("one.jpg").ids
    assert found.dtype == dtype
    assert np.array_equal(found, ids)


def test_a_mask_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "colors.png")
    (tmp_path / "damaged.png").write_bytes((tmp_path / "colors.png").read_bytes()[:40])
    for name, message in (("colors", r"has colors \(RGB\)"), ("damaged", "not a mask, or damaged"), ("missing", "No such file")):
        with pytest.raises(ImageError, match=message) as raised:
            read_mask(tmp_path / f"{name}.png")
        assert "\n" not in str(raised.value)


COCO = {
    "images": [{"id": 7, "file_name": "a.jpg", "height": 10, "width": 20}, {"id": 8, "file_name": "b.jpg", "height": 5, "width": 5}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 90, "bbox": [1, 2, 3.5, 4], "iscrowd": 0, "area": 9},
        {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 20, 10], "iscrowd": 1},
        {"id": 3, "image_id": 7, "category_id": 3, "bbox": [5, 5, 1, 1]},
    ],
    "categories": [{"id": 90, "name": "toothbrush"}, {"id": 3, "name": "car"}],
}


def test_boxes_of_coco_are_corners_and_classes_numbered_by_their_ids(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps(COCO))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").touch()
    found = open_boxes(tmp_path, USUAL)
    table = found.truths
    assert found.images == {"train": ["images/a.jpg", "images/b.jpg"]}
    assert table.classes == ("car", "toothbrush")
    first, second = table.read("images/a.jpg"), table.read("images/b.jpg")
    assert isinstance(first, Boxes)
    assert first.corners.tolist() == [[1, 2, 4.5, 6], [0, 0, 20, 10], [5, 5, 6, 6]]
    assert (first.classes.tolist(), first.crowd.tolist(), first.size) == ([1, 0, 0], [False, True, False], (10, 20))
    assert first.areas.tolist() == [9, 200, 1], "as the file says, else that of the box"
    assert table.count(["images/a.jpg", "images/b.jpg"]).tolist() == [1, 1], "crowds are not counted"
    assert (len(second), second.size) == (0, (5, 5))
    with pytest.raises(ImageError, match="no list of boxes names it"):
        table.read("val/a.jpg")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [', "not in the format of COCO: .*cut off"),
        ("{", "not in the format of COCO: Expecting"),
        ("[]", "not in the format of COCO"),
        (json.dumps({**COCO, "categories": []}), "annotation 1 is of category 90, which has no name"),
        (json.dumps({"images": []}), "it has no 'categories'"),
        (json.dumps({**COCO, "annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 2]}]}), "not in the format of COCO"),
    ],
)
def test_a_list_of_boxes_that_is_none_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "boxes.json").write_text(text)
    with pytest.raises(UserError, match=message) as raised:
        read_coco(tmp_path / "boxes.json")
    assert str(raised.value).startswith(str(tmp_path / "boxes.json"))
    assert "\n" not in str(raised.value)
