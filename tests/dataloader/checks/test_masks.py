"""--check looks at masks: their sizes, their numbers, their classes, and whether they belong to their images."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dataloader.checks.many_files import look_at_all
from dataloader.checks.masks import find
from dataloader.checks.survey import Survey
from dataloader.opening.open_catalog import open_catalog
from dataloader.targets.mask import IGNORE


def picture(number: int, side: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Return an image with a bright disk off the middle, and its mask."""
    rng = np.random.default_rng(number)
    mask = np.zeros((side, side), np.uint8)
    cv2.circle(mask, (int(rng.integers(20, 35)), int(rng.integers(20, 76))), 14, 1, -1)
    image = np.clip(rng.normal(80, 6, (side, side, 3)) + 90 * mask[..., None], 0, 255).astype(np.uint8)
    return image, mask


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Six images and masks in two splits, with a table of three classes, one of which nothing shows."""
    for number in range(6):
        split = "train" if number < 4 else "val"
        image, mask = picture(number)
        for folder, pixels in (("images", image), ("masks", mask)):
            (tmp_path / folder / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / folder / split / f"{number}.png")
    (tmp_path / "masks" / "labels.csv").write_text("id,name\n0,ground\n1,disk\n2,ghost\n")
    return tmp_path


def look(home: Path) -> dict[str, tuple[str, int]]:
    """Return title -> level and number of images of what is found."""
    catalog = open_catalog(str(home), tolerant=True)
    files = [split.file(index) for split in catalog.splits.values() for index in range(len(split))]
    survey = Survey(catalog, look_at_all(files, workers=0), (64, 64))
    return {finding.title: (finding.level, len(finding.groups)) for finding in find(survey)}


def change(home: Path, number: int, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(home / "masks" / ("train" if number < 4 else "val") / f"{number}.png")


def one(found: dict[str, tuple[str, int]], text: str) -> tuple[str, int]:
    (said,) = [value for title, value in found.items() if text in title]
    return said


def test_shares_are_told_and_a_class_without_a_pixel_is_a_warning(home: Path) -> None:
    found = look(home)
    assert sum(level == "error" for level, _ in found.values()) == 0
    assert one(found, "train: no pixel is ghost") == ("warning", 0)
    assert one(found, "ground covers 9") == ("info", 0)
    assert not any("outlines" in title or "mirrored" in title for title in found)


def test_another_size_an_unnamed_id_and_an_unlabeled_mask_are_found(home: Path) -> None:
    change(home, 0, np.zeros((48, 96), np.uint8))
    change(home, 1, np.full((96, 96), 7, np.uint8))
    change(home, 2, np.full((96, 96), IGNORE, np.uint8))
    (home / "masks" / "val" / "5.png").write_bytes(b"no image")
    found = look(home)
    assert one(found, "another size than the image") == ("error", 1)
    assert one(found, "what has no name among the 3 classes") == ("error", 1)
    assert one(found, "ignored throughout") == ("warning", 1)
    assert one(found, "cannot be read") == ("error", 1)


def test_a_mask_of_another_image_is_noticed(home: Path) -> None:
    _, mask = picture(3)
    change(home, 3, np.roll(mask, 45, axis=1))
    assert one(look(home), "lies on no edges of the image") == ("warning", 1)


def test_masks_that_are_mirrored_throughout_are_noticed(home: Path) -> None:
    for number in range(6):
        change(home, number, picture(number)[1][:, ::-1])
    assert one(look(home), "masks look mirrored")[0] == "warning"
