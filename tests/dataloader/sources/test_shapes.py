"""Scenes are the same everywhere, all that is said of them agrees with their pixels, and color alone does not give them away."""

import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from dataloader.sources import shapes
from dataloader.sources.shapes import CLASSES, DEFECTS, LEAST_DEFECT, open_shapes, scene, write_png
from utils.errors import UserError

# Of the pixels, masks, boxes and defects of some scenes. It changes with the scenes alone, not with a machine or a library.
DIGEST = "30e68f44a6b9840f87581665f1aa8b02ffac3203829158241c9cbecca11b58e7"
MANY = range(0, 2400, 7)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with fewer scenes; `tests/dataloader/test_tables.py` opens all of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "COUNTS", {"train": 8, "val": 2, "test": 4})
        patch.setattr(shapes, "GOOD", {"train": 9, "test": 4})
        patch.setattr(shapes, "DEFECTIVE", 5)
        yield open_shapes(tmp_path_factory.mktemp("home")).parent


def tight_boxes(mask: np.ndarray) -> set[tuple[int, ...]]:
    """Return class number + 1, left, top, right and bottom of every connected region, found by OpenCV."""
    found = set()
    for kind in np.unique(mask[mask > 0]).tolist():
        count, _, stats, _ = cv2.connectedComponentsWithStats((mask == kind).astype(np.uint8), connectivity=8)
        found |= {(kind, x, y, x + width, y + height) for x, y, width, height, _ in stats[1:count].tolist()}
    return found


def test_scenes_are_the_same_to_the_byte_on_every_machine() -> None:
    digest = hashlib.sha256()
    for index in range(0, 300, 17):
        for made in (scene(index), scene(index, defect=DEFECTS[index % 2]), scene(index, side=97)):
            for part in (made.image, made.instances, made.boxes, made.classes, made.colors, made.defect):
                digest.update(part.tobytes())
    assert digest.hexdigest() == DIGEST


@pytest.mark.parametrize("side", [32, 64, 129])
def test_boxes_are_those_of_the_connected_regions_of_the_mask(side: int) -> None:
    for index in MANY:
        made = scene(index, side=side)
        np.testing.assert_array_equal(np.array([0, *(1 + made.classes)])[made.instances], made.mask)
        boxes = {(kind + 1, *box) for kind, box in zip(made.classes.tolist(), made.boxes.tolist(), strict=True)}
        assert boxes == tight_boxes(made.mask)
        assert len(boxes) == len(made.boxes), "no two shapes touch"
        assert made.boxes.min() >= 0
        assert made.boxes.max() <= side


def test_pixels_have_the_color_of_their_shape_and_the_ground_has_another() -> None:
    for index in MANY:
        made = scene(index)
        pixels = made.image.astype(int)
        for number, color in enumerate(made.colors.astype(int), start=1):
            assert np.abs(pixels[made.instances == number] - color).max() <= 10
        middle = np.median(pixels[made.mask == 0], axis=0)
        assert np.abs(made.colors.astype(int) - middle).sum(1).min() > 60, "every shape stands out"


def test_the_label_is_the_class_of_the_clearly_largest_shape() -> None:
    for index in MANY:
        made = scene(index)
        areas = np.bincount(made.instances.ravel())[1:].tolist()
        assert made.label == index % len(CLASSES) == made.classes[0]
        assert areas[0] > 1.5 * max(areas[1:], default=0)


@pytest.mark.parametrize("kind", DEFECTS)
def test_a_defect_changes_the_pixels_of_its_mask_and_no_others(kind: str) -> None:
    for index in MANY:
        good, bad = scene(index), scene(index, defect=kind)
        changed = np.abs(good.image.astype(int) - bad.image).max(2)
        np.testing.assert_array_equal(changed > 0, bad.defect)
        assert changed[bad.defect].min() >= 60, "it can be seen"
        assert bad.defect.sum() >= LEAST_DEFECT
        assert (good.instances[bad.defect] == 1).all()
        assert not good.defect.any()
        np.testing.assert_array_equal(good.mask, bad.mask)


def test_every_split_has_as_many_images_of_each_class(home: Path) -> None:
    for split, count in shapes.COUNTS.items():
        found = Counter(file.parent.name for file in (home / "images" / split).rglob("*.png"))
        assert found == dict.fromkeys(CLASSES, count)
    numbers = [file.stem for split in shapes.COUNTS for file in (home / "images" / split).rglob("*.png")]
    assert sorted(map(int, numbers)) == list(range(14 * len(CLASSES)))


def test_files_hold_what_the_generator_says(home: Path) -> None:
    for split in shapes.COUNTS:
        boxes = json.loads((home / "boxes" / f"{split}.json").read_text(encoding="utf-8"))
        assert [each["name"] for each in boxes["categories"]] == list(CLASSES)
        for entry in boxes["images"][::5]:
            made = scene(entry["id"])
            np.testing.assert_array_equal(np.asarray(Image.open(home / "images" / split / entry["file_name"])), made.image)
            np.testing.assert_array_equal(np.asarray(Image.open(home / "masks" / split / entry["file_name"])), made.mask)
            own = [each for each in boxes["annotations"] if each["image_id"] == entry["id"]]
            corners = [[x, y, x + width, y + height] for x, y, width, height in (each["bbox"] for each in own)]
            assert corners == made.boxes.tolist()
            assert [each["category_id"] - 1 for each in own] == made.classes.tolist()
            assert sum(each["area"] for each in own) == (made.mask > 0).sum()


def test_the_anomaly_data_are_scenes_of_no_split(home: Path) -> None:
    root = home / "defects"
    counts = {"train/good": 9, "test/good": 4, **{f"test/{kind}": 5 for kind in DEFECTS}}
    files = {folder: sorted((root / folder).iterdir()) for folder in counts}
    assert {folder: len(found) for folder, found in files.items()} == counts
    numbers = [int(file.stem) for found in files.values() for file in found]
    assert len(set(numbers)) == len(numbers)
    assert min(numbers) == 14 * len(CLASSES)
    for kind in DEFECTS:
        for file in files[f"test/{kind}"][::3]:
            made = scene(int(file.stem), defect=kind)
            np.testing.assert_array_equal(np.asarray(Image.open(file)), made.image)
            mask = np.asarray(Image.open(root / "ground_truth" / kind / f"{file.stem}_mask.png"))
            np.testing.assert_array_equal(mask, np.where(made.defect, 255, 0))


@pytest.mark.slow
def test_mean_color_does_not_give_the_class_away() -> None:
    def colors(numbers: range) -> tuple[np.ndarray, list[int]]:
        scenes = [scene(number) for number in numbers]
        return np.array([made.image.mean((0, 1)) for made in scenes]), [made.label for made in scenes]

    (seen, labels), (held_out, truth) = colors(range(1440)), colors(range(1680, 2160))
    scaler = StandardScaler().fit(seen)
    model = LogisticRegression().fit(scaler.transform(seen), labels)
    assert model.score(scaler.transform(held_out), truth) < 0.25, "chance is 0.17"


@pytest.mark.parametrize("shape", [(1, 1), (3, 5, 3), (300, 300, 3)])
def test_a_png_without_compression_is_read_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    write_png(pixels, tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), pixels)
    read = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert read is not None
    np.testing.assert_array_equal((read[..., ::-1] if read.ndim == 3 else read), pixels)
    body = (tmp_path / "a.png").read_bytes()
    start = body.index(b"IDAT") + 4
    assert zlib.decompress(body[start : start + int.from_bytes(body[start - 8 : start - 4], "big")])


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write the shapes"):
        open_shapes(tmp_path / "file")


def test_the_second_call_writes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataloader.sources.shapes.scene", None)
    assert open_shapes(home.parent) == home / "images"
