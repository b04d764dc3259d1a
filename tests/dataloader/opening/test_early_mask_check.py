"""Masks that a run would stumble over are named before it begins."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataloader.opening import early_mask_check
from dataloader.opening.early_mask_check import check_masks
from dataloader.opening.open_catalog import open_catalog
from dataloader.splits.split import Split
from dataloader.targets.mask import Mask
from tests.dataloader.sources.test_mask_sets import folder_of, ids, write, yolo
from utils.errors import UserError


def looked_at(split: Split, seconds: float = 20.0) -> int:
    return check_masks(split.truths, split.root, split.paths, seconds=seconds)


def named(home: Path) -> Split:
    folder_of(home, "train", "val", mask=ids([0, 1, 2]), count=5)
    (home / "labels.csv").write_text("id,name\n0,sky\n1,road\n2,car\n")
    return open_catalog(str(home)).splits["train"]


def test_one_mask_with_a_number_without_a_name_is_found_among_many(tmp_path: Path) -> None:
    split = named(tmp_path)
    assert looked_at(split) == 5
    write(tmp_path / "masks" / "train" / "train3.png", ids([0, 1, 7]))
    with pytest.raises(UserError, match=r"train3.png: id 7 has no name in .*labels.csv, which names 3 classes"):
        looked_at(split)


def test_a_mask_of_another_size_is_named_with_both_sizes(tmp_path: Path) -> None:
    split = named(tmp_path)
    write(tmp_path / "masks" / "train" / "train2.png", ids([0, 1], [0, 1]))
    with pytest.raises(UserError, match=r"train2.png: mask of 2x2 pixels for an image of 3x1, .*train2.jpg: they must have the same size"):
        looked_at(split)


def test_an_image_that_is_stored_lying_has_an_upright_mask(tmp_path: Path) -> None:
    split = named(tmp_path)
    lying = Image.fromarray(np.zeros((3, 1, 3), np.uint8))
    exif = lying.getexif()
    exif[0x0112] = 6
    lying.save(tmp_path / "images" / "train" / "train2.jpg", exif=exif)
    assert looked_at(split) == 5


def test_time_ends_the_look_and_damaged_files_are_left_to_their_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = named(tmp_path)
    (tmp_path / "masks" / "train" / "train1.png").write_bytes(b"damaged")
    (tmp_path / "images" / "train" / "train2.jpg").write_bytes(b"damaged")
    assert looked_at(split) == 5
    monkeypatch.setattr(early_mask_check, "FIRST", 2)
    assert looked_at(split, seconds=0.0) == 2


def test_lines_of_outlines_are_read_and_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataloader.sources.polygons.draw", None)
    split = open_catalog(yolo(tmp_path, "names: [cat, dog]"), target=Mask).splits["train"]
    assert looked_at(split) == 1
    (tmp_path / "labels" / "train" / "a.txt").write_text("0 0 0 1 0 1 0.5\n5 0 0 1 0 1 0.5\n")
    with pytest.raises(UserError, match=r"a.txt, line 2: the class is 5, which has no name"):
        looked_at(split)
