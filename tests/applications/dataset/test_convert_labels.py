"""Boxes that are written in any format are the same when they are read back."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import config
from applications.dataset import convert_labels
from dataloader.opening.open_catalog import open_catalog
from dataloader.targets.boxes import Boxes
from dataloader.writers.boxes import BOX_FORMATS
from utils.errors import UserError

CLASSES = ["zebra", "a cat & a <dog>", "bus"]


def given(root: Path, count: int = 4) -> Path:
    """Write images of odd sizes with boxes of any fractions of pixels, a crowd among them, and one image without boxes."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        images, annotations = [], []
        for number in range(count):
            width, height = (int(side) for side in rng.integers(90, 1999, 2))
            (root / split).mkdir(parents=True, exist_ok=True)
            # The same names in both splits, and two images that differ by their suffix alone.
            name = ("one.jpg", "one.png", "two.jpg", "three.jpg")[number]
            Image.new("L", (width, height)).save(root / split / name)
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            for kind in range(0 if number == 2 else 3):
                left, top = rng.uniform(0, 40, 2).round(int(rng.integers(0, 8)))
                wide, high = rng.uniform(5, 50, 2)
                annotation = {"id": len(annotations), "image_id": number, "category_id": kind, "bbox": [left, top, wide, high]}
                annotations.append({**annotation, "area": wide * high / 2, "iscrowd": int(kind == 1 and number == 3)})
        categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"{split}.json").write_text(json.dumps(content))
    return root


def converted(root: Path, form: str, out: Path) -> Path:
    request = config.parse(["--convert_labels", form, "--data", str(root), "--logdir", str(out), "--name", form])
    assert convert_labels.run(request) == 0
    return out / "convert_labels" / form


def boxes_of(root: Path) -> dict[tuple[str, str], list[tuple]]:
    """Return (split, size of the image) -> its boxes: class, crowd and corners."""
    catalog = open_catalog(str(root), target=Boxes)
    found = {}
    for split in catalog.splits.values():
        for index in range(len(split)):
            target = split.target(index)
            assert isinstance(target, Boxes)
            names = [catalog.classes[number] for number in target.classes]
            found[split.name, str(target.size)] = list(zip(names, target.crowd.tolist(), target.corners.tolist(), strict=True))
    return found


@pytest.mark.parametrize("form", BOX_FORMATS)
def test_every_format_round_trips_to_the_last_bit(form: str, tmp_path: Path) -> None:
    before = boxes_of(given(tmp_path / "data"))
    assert len(before) == 8
    after = boxes_of(converted(tmp_path / "data", form, tmp_path / "out"))
    if not BOX_FORMATS[form].crowds:
        before = {image: [box for box in boxes if not box[1]] for image, boxes in before.items()}
    assert after == before


def test_areas_survive_in_coco_alone_and_names_of_images_stay_apart(tmp_path: Path) -> None:
    folder = converted(given(tmp_path / "data"), "coco", tmp_path / "out")
    split = open_catalog(str(folder), target=Boxes).splits["train"]
    first = split.target(0)
    assert isinstance(first, Boxes)
    assert first.areas.tolist() == pytest.approx(((first.corners[:, 2:] - first.corners[:, :2]).prod(1) / 2).tolist(), rel=1e-3)
    assert len({Path(path).name for path in split.paths}) == 4


def test_what_a_format_cannot_say_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        converted(given(tmp_path / "data"), "yolo", tmp_path / "out")
    assert "YOLO cannot mark crowds and difficult objects: 2 boxes are left out" in caplog.text
    assert "written" in caplog.text
    assert "16 boxes on 8 images as YOLO, read back alike" in caplog.text


def test_a_mistake_leaves_no_folder_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert_labels, "ALLOWED", -1.0)
    with pytest.raises(UserError, match="are others when they are read back"):
        converted(given(tmp_path / "data"), "csv", tmp_path / "out")
    assert not (tmp_path / "out" / "convert_labels" / "csv").exists()
    with pytest.raises(UserError, match="convert_labels"):
        config.parse(["--convert_labels", "tfrecord", "--data", "x"])
