"""--check looks at boxes, and names the file of each that is wrong."""

from pathlib import Path

import pytest
from PIL import Image

from dataloader.checks import boxes, lines
from dataloader.checks.findings import Finding
from dataloader.checks.many_files import look_at_all
from dataloader.checks.survey import Survey
from dataloader.opening.open_catalog import open_catalog
from dataloader.targets.boxes import Boxes


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Six images of 200 x 100 with a box each of two classes, in two splits; a third class is in none."""
    for number in range(6):
        split = "train" if number < 4 else "val"
        (tmp_path / "images" / split).mkdir(parents=True, exist_ok=True)
        (tmp_path / "labels" / split).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 100), (number, 9, 9)).save(tmp_path / "images" / split / f"{number}.png")
        write(tmp_path, number, f"{number % 2} 0.5 0.5 0.4 0.5\n")
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog, ghost]\n")
    return tmp_path


def write(home: Path, number: int, text: str) -> None:
    (home / "labels" / ("train" if number < 4 else "val") / f"{number}.txt").write_text(text)


def survey_of(home: Path, image_size: tuple[int, int] = (64, 64)) -> Survey:
    catalog = open_catalog(str(home), tolerant=True, target=Boxes)
    files = [split.file(index) for split in catalog.splits.values() for index in range(len(split))]
    return Survey(catalog, look_at_all(files, workers=0), image_size)


def one(home: Path, text: str, image_size: tuple[int, int] = (64, 64)) -> Finding:
    (found,) = [each for each in boxes.find(survey_of(home, image_size)) if text in each.title]
    return found


def test_shares_are_told_and_a_class_without_a_box_is_a_warning(home: Path) -> None:
    write(home, 5, "")
    found = {each.title: each for each in boxes.find(survey_of(home))}
    assert {each.level for each in found.values()} == {"info", "warning"}
    told = one(home, "1 image has none")
    assert told.title == "cat has 50.0% of the 4 train boxes, ghost 0.0%; 1 image has none"
    assert told.rows[0] == ["cat", "2 on 2 images", "1 on 1 image"]
    assert told.figures["without"] == {"train": 0, "val": 1}
    assert "train: no box is ghost" in found
    assert "val: no box is dog, ghost" in found
    assert "2 classes have fewer than 20 train boxes: cat, dog" in found
    assert len(found) == 4


@pytest.mark.parametrize(
    ("text", "said", "note"),
    [
        ("0 0.5 0.5 0.4 0.5\n0 0.5 0.5 0 0.5\n0 0.5 0.5 0.1 0\n", "2 boxes have no area, on 1 image", "lines 2, 3"),
        ("0 0.5 0.5 0.4 0.5\n1 1.0 0.5 0.2 0.2\n", "1 box leaves its image, on 1 image", "line 2"),
        ("0 0.5 0.5 0.4 0.5\n1 0.2 0.2 0.1 0.1\n0 0.501 0.5 0.4 0.5\n1 0.5 0.5 0.4 0.5\n", "1 box is there twice, on 1 image", "line 3"),
        ("0 0.5 0.5 0.06 0.3\n1 0.5 0.5 0.4 0.4\n", "1 box has a side below 4 pixels at 64x64, on 1 image", "line 1"),
    ],
)
def test_wrong_boxes_are_found_and_their_lines_named(home: Path, text: str, said: str, note: str) -> None:
    write(home, 2, text)
    found = one(home, said)
    assert (found.level, [(group.images, group.note) for group in found.groups]) == ("warning", [((2,), f"labels/train/2.txt, {note}")])


def test_what_is_tiny_follows_from_the_size_that_the_network_sees(home: Path) -> None:
    write(home, 2, "0 0.5 0.5 0.06 0.3\n")
    assert not any("below" in each.title for each in boxes.find(survey_of(home, (128, 128))))


def test_files_without_their_other_half_are_named(home: Path) -> None:
    (home / "labels/train/1.txt").unlink()
    (home / "images/val/4.png").unlink()
    lost = one(home, "1 image has no file of boxes")
    assert (lost.level, lost.lines) == ("error", [str(home / "images/train/1.png")])
    alone = one(home, "1 file of boxes has no image")
    assert (alone.level, alone.lines) == ("warning", [str(home / "labels/val/4.txt")])


def test_lines_that_are_no_boxes_are_named_each(home: Path) -> None:
    write(home, 0, "7 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1 0.1\n0 320 240 10 10\n")
    (found,) = lines.find(survey_of(home))
    assert (found.level, found.title) == ("error", "2 lines give no box")
    assert "0.txt, line 1: the class is 7" in found.lines[0]
    assert "0.txt, line 3: 320 is a number of pixels" in found.lines[1]


def test_an_image_with_thousands_of_boxes_is_looked_at_and_told(home: Path) -> None:
    write(home, 3, "".join(f"{number % 2} {number % 97 / 100 + 0.01} {number // 97 / 60 + 0.01} 0.02 0.02\n" for number in range(5000)))
    found = one(home, "more than 100 boxes")
    assert found.title == "1 image holds more than 100 boxes, up to 5,000"
    assert found.groups[0].note == "5,000 boxes"
