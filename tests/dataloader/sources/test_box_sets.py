"""Every format of boxes gives the same boxes, and a mistake in a file is one line that names it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataloader.opening.open_catalog import open_catalog
from dataloader.sources.box_sets import looks_like_boxes
from dataloader.splits.catalog import Catalog
from dataloader.targets.boxes import Boxes
from dataloader.truth_reading import TruthReading
from utils.errors import UserError

# Two boxes on an image of 80 x 40, of the classes b and a.
CORNERS = [[8, 4, 40, 20], [0, 10, 20, 40]]


def images(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (80, 40)).save(root / name)


def write(root: Path, name: str, text: str = "") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


YOLO = "1 0.3 0.3 0.4 0.4\n0 0.125 0.625 0.25 0.75\n"


def yolo(root: Path, text: str = YOLO, yaml: str = "train: images/train\nval: images/val\nnames: [a, b]\n") -> Path:
    images(root, "images/train/one.jpg", "images/train/none.jpg", "images/val/two.png")
    write(root, "labels/train/one.txt", text)
    write(root, "labels/train/none.txt")
    write(root, "labels/val/two.txt", YOLO)
    if yaml:
        write(root, "data.yaml", yaml)
    return root


def yolo_without_yaml(root: Path) -> Path:
    write(root, "classes.txt", "a\nb\n")
    return yolo(root, yaml="")


def yolo_beside_its_splits(root: Path) -> Path:
    for split, name in (("train", "one.jpg"), ("train", "none.jpg"), ("valid", "two.png")):
        images(root, f"{split}/images/{name}")
        write(root, f"{split}/labels/{Path(name).stem}.txt", "" if name == "none.jpg" else YOLO)
    write(root, "data.yaml", "train: ../train/images\nval: ../valid/images\nnames:\n  1: b\n  0: a\n")
    return root


def yolo_by_lists(root: Path) -> Path:
    yolo(root, yaml="path: /not/on/this/machine\ntrain: train.txt\nval: [val.txt]\nnames: {0: a, 1: b}\n")
    write(root, "train.txt", "images/train/one.jpg\n./images/train/none.jpg\n")
    write(root, "val.txt", "images/val/two.png\n")
    return root


def outlines_as_boxes(root: Path) -> Path:
    return yolo(root, "1 0.1 0.3 0.5 0.1 0.3 0.5\n0 0.125 0.625 0.25 0.75\n")


def voc(root: Path) -> Path:
    images(root, "JPEGImages/one.jpg", "JPEGImages/none.jpg", "JPEGImages/two.png")
    objects = "".join(
        f"<object><name>{name}</name><truncated>1</truncated><difficult>0</difficult><bndbox><xmin>{left + 1}</xmin><ymin>{top + 1}</ymin>"
        f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for name, (left, top, right, bottom) in zip("ba", CORNERS, strict=True)
    )
    for name in ("one", "two"):
        write(root, f"Annotations/{name}.xml", f"<annotation>{objects}</annotation>")
    write(root, "Annotations/none.xml", "<annotation></annotation>")
    write(root, "ImageSets/Main/train.txt", "one\nnone\n")
    write(root, "ImageSets/Main/val.txt", "two\n")
    return root


def corners(root: Path) -> Path:
    images(root, "images/one.jpg", "images/none.jpg", "images/two.png")
    lines = "".join(f"{x1 / 80} {y1 / 40} {x2 / 80} {y2 / 40} {kind}\n" for kind, (x1, y1, x2, y2) in zip("10", CORNERS, strict=True))
    write(root, "labels/one.txt", lines)
    write(root, "labels/two.txt", lines)
    write(root, "labels/none.txt", "0 0 0 0 0\n")
    write(root, "labels.txt", "a:0\nb:1\n")
    write(root, "train.txt", "one\nnone\n")
    write(root, "val.txt", "two\n")
    return root


def table(root: Path) -> Path:
    images(root, "one.jpg", "none.jpg", "deep/two.png")
    rows = [f"{name},{x1},{y1},{x2},{y2}" for name in ("one.jpg", "deep/two.png") for x1, y1, x2, y2 in CORNERS]
    text = "".join(f"{row},{kind},{'train' if row[0] == 'o' else 'val'}\n" for row, kind in zip(rows, "baba", strict=True))
    write(root, "boxes.csv", f"path,x1,y1,x2,y2,class,split\n{text}none.jpg,,,,,,train\n")
    return root


def coco(root: Path) -> Path:
    for split, names in (("train", ("one.jpg", "none.jpg")), ("val", ("two.png",))):
        images(root, *(f"{split}2017/{name}" for name in names))
        boxes = [{"id": n, "image_id": 1, "category_id": 7 - n, "bbox": [x, y, r - x, b - y]} for n, (x, y, r, b) in enumerate(CORNERS)]
        listed = [{"id": n, "file_name": name, "width": 80, "height": 40} for n, name in enumerate(names, start=1)]
        categories = [{"id": 7, "name": "b"}, {"id": 6, "name": "a"}]
        write(
            root, f"annotations/instances_{split}2017.json", json.dumps({"images": listed, "annotations": boxes, "categories": categories})
        )
    return root


FORMATS = [yolo, yolo_without_yaml, yolo_beside_its_splits, yolo_by_lists, outlines_as_boxes, voc, corners, table, coco]


def boxes_of(catalog: Catalog, split: str, index: int) -> Boxes:
    found = catalog.splits[split].target(index)
    assert isinstance(found, Boxes)
    return found


@pytest.mark.parametrize("layout", FORMATS)
def test_every_format_gives_the_same_boxes_of_the_same_splits(layout, tmp_path: Path) -> None:
    catalog = open_catalog(str(layout(tmp_path)), target=Boxes)
    assert (catalog.target, catalog.classes, catalog.notes) == (Boxes, ("a", "b"), ())
    names = {split: [Path(path).name for path in each.paths] for split, each in catalog.splits.items()}
    assert names == {"train": ["none.jpg", "one.jpg"], "val": ["two.png"]}
    assert len(boxes_of(catalog, "train", 0)) == 0
    for found in (boxes_of(catalog, "train", 1), boxes_of(catalog, "val", 0)):
        np.testing.assert_allclose(found.corners, CORNERS, rtol=1e-6)
        assert (found.classes.tolist(), found.size) == ([1, 0], (40, 80))
    truths = catalog.splits["train"].truths
    assert truths is not None
    assert truths.count(catalog.splits["train"].paths).tolist() == [1, 1]


@pytest.mark.parametrize("layout", [yolo, voc, table])
def test_boxes_need_no_task_where_nothing_else_can_be_meant(layout, tmp_path: Path) -> None:
    assert looks_like_boxes(layout(tmp_path))
    assert open_catalog(str(tmp_path)).target is Boxes


def test_files_open_as_their_folders_do(tmp_path: Path) -> None:
    yolo(tmp_path / "yolo")
    assert set(open_catalog(str(tmp_path / "yolo" / "data.yaml"), target=Boxes).splits) == {"train", "val"}
    coco(tmp_path / "coco")
    alone = open_catalog(str(tmp_path / "coco" / "annotations" / "instances_val2017.json"), target=Boxes, whole="test", require_train=False)
    assert len(alone.splits["test"]) == 1
    table(tmp_path / "table")
    assert set(open_catalog(str(tmp_path / "table" / "boxes.csv")).splits) == {"train", "val"}


def test_images_that_nobody_has_split_are_held_out(tmp_path: Path) -> None:
    images(tmp_path, *(f"images/{number}.jpg" for number in range(10)))
    for number in range(10):
        write(tmp_path, f"labels/{number}.txt", YOLO)
    write(tmp_path, "data.yaml", "names: [a, b]\n")
    found = open_catalog(str(tmp_path), target=Boxes)
    assert {name: len(split) for name, split in found.splits.items()} == {"train": 6, "val": 2, "test": 2}


def test_difficult_objects_and_crowds_are_kept_apart(tmp_path: Path) -> None:
    voc(tmp_path)
    file = tmp_path / "Annotations" / "one.xml"
    file.write_text(file.read_text().replace("<difficult>0", "<difficult>1", 1))
    catalog = open_catalog(str(tmp_path))
    assert boxes_of(catalog, "train", 1).crowd.tolist() == [True, False]
    truths = catalog.splits["train"].truths
    assert truths is not None
    assert truths.count(catalog.splits["train"].paths).tolist() == [1, 0]


def test_voc_counts_pixels_from_one_and_other_programs_from_zero(tmp_path: Path) -> None:
    voc(tmp_path)
    box = "<object><name>b</name><bndbox><xmin>0</xmin><ymin>1</ymin><xmax>80</xmax><ymax>40</ymax></bndbox></object>"
    write(tmp_path, "Annotations/one.xml", f"<annotation>{box}</annotation>")
    assert boxes_of(open_catalog(str(tmp_path)), "train", 1).corners.tolist() == [[0, 0, 80, 40]]


def test_boxes_without_area_are_left_out_with_a_note_and_others_clipped(tmp_path: Path) -> None:
    catalog = open_catalog(str(yolo(tmp_path, "0 0.5 0.5 0 0.1\n1 0.95 0.5 0.2 0.5\n")))
    assert "1 box has no area, such as" in catalog.notes[0]
    assert "labels/train/one.txt, line 1" in catalog.notes[0]
    found = boxes_of(catalog, "train", 1)
    np.testing.assert_allclose(found.corners, [[68, 10, 80, 30]], rtol=1e-6)
    assert found.areas.tolist() == pytest.approx([240], rel=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (YOLO + "\n1 320 240 100 80\n", r"one\.txt, line 4: 320 is a number of pixels; write shares of the image"),
        ("2 0.3 0.3 0.4 0.4\n", r"one\.txt, line 1: the class is 2, and .*data\.yaml names 2 classes, 0 to 1"),
        ("0.5 0.3 0.3 0.4 0.4\n", r"one\.txt, line 1: the class is 0\.5"),
        ("1 0.3 0.3 0.4\n", r"one\.txt, line 1: it has 4 numbers; write class x_center y_center width height"),
        ("b 0.3 0.3 0.4 0.4\n", r"one\.txt, line 1: 'b 0\.3 0\.3 0\.4 0\.4' is no row of numbers"),
        ("1 0.3 nan 0.4 0.4\n7 1 2 3 4\n", r"line 1: .*has a number that is none.*; 1 more such lines, see --check"),
    ],
)
def test_a_line_that_is_no_box_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        open_catalog(str(yolo(tmp_path, text)), target=Boxes)
    assert "\n" not in str(raised.value)
    tolerant = open_catalog(str(tmp_path), target=Boxes, tolerant=True)
    assert len(tolerant.faults) == 1 + text.startswith("1 0.3 nan")


def test_an_image_without_its_file_is_an_error_unless_it_means_nothing(tmp_path: Path) -> None:
    yolo(tmp_path)
    (tmp_path / "labels/train/none.txt").unlink()
    write(tmp_path, "labels/train/gone.txt", YOLO)
    with pytest.raises(UserError, match=r"1 image has no text file of boxes, such as .*none\.jpg; add empty files .*--missing_is_empty"):
        open_catalog(str(tmp_path))
    empty = open_catalog(str(tmp_path), reading=TruthReading(empty=True))
    assert len(boxes_of(empty, "train", 0)) == 0
    assert "1 text file of boxes has no image, such as labels/train/gone.txt; not used" in empty.notes
    assert len(open_catalog(str(tmp_path), tolerant=True).splits["train"]) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("one.jpg,1,2,3,x,b,train\n", r"boxes\.csv, line 2: 'one\.jpg,1,2,3,x,b,train' is no box"),
        ("gone.jpg,1,2,3,4,b,train\n", r"boxes\.csv, line 2: there is no image gone\.jpg"),
        ("one.jpg,1,2,3,4,b,train\none.jpg,1,2,3,4,b,val\n", r"line 3: one\.jpg is in two splits"),
        ("one.jpg,1,2,3,4,b,weekend\n", r"line 2: the split is weekend"),
        ("one.jpg,0.1,0.2,0.3,0.4,b,train\n", "these are shares of the image, and a table holds pixels"),
        ("one.jpg,1,2,3,4,b,train\nnone.jpg,,,,,,\n", r"gives none\.jpg no split, and others one"),
    ],
)
def test_a_row_of_a_table_that_is_no_box_is_named(tmp_path: Path, rows: str, message: str) -> None:
    table(tmp_path)
    write(tmp_path, "boxes.csv", f"path,x1,y1,x2,y2,class,split\n{rows}")
    with pytest.raises(UserError, match=message):
        open_catalog(str(tmp_path), target=Boxes)


def test_xml_that_is_cut_off_and_objects_without_a_box_are_named(tmp_path: Path) -> None:
    voc(tmp_path)
    write(tmp_path, "Annotations/one.xml", "<annotation><object><name>a</name>")
    write(tmp_path, "Annotations/two.xml", "<annotation><object><name>a</name><bndbox><xmin>3</xmin></bndbox></object></annotation>")
    faults = [fault.message for fault in open_catalog(str(tmp_path), tolerant=True).faults]
    assert "one.xml: no XML, or cut off" in faults[0]
    assert "two.xml, object 1: its bndbox lacks one of the numbers" in faults[1]


def test_a_model_numbers_the_classes_of_other_data(tmp_path: Path) -> None:
    catalog = open_catalog(str(voc(tmp_path)), classes=("b", "z", "a"))
    assert (catalog.classes, boxes_of(catalog, "val", 0).classes.tolist()) == (("b", "z", "a"), [0, 2])
    with pytest.raises(UserError, match=r"none\.xml|one\.xml, object 1: the class is b, which the model does not know; it knows a, z"):
        open_catalog(str(tmp_path), classes=("a", "z"))


def test_what_is_not_there_and_what_holds_no_boxes_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not there\..*Expected images/ and labels/"):
        open_catalog(str(tmp_path / "nothing"), target=Boxes)
    images(tmp_path, "a.jpg")
    with pytest.raises(UserError, match="holds no images with boxes"):
        open_catalog(str(tmp_path), target=Boxes)
    with pytest.raises(UserError, match="--ignore is for masks"):
        open_catalog(str(yolo(tmp_path / "y")), target=Boxes, reading=TruthReading(ignore=("a",)))
    write(tmp_path / "y", "data.yaml", "train: images/elsewhere\nnames: [a, b]\n")
    with pytest.raises(UserError, match=r"data\.yaml: train: images/elsewhere is not there"):
        open_catalog(str(tmp_path / "y"), target=Boxes)
