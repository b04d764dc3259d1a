"""Groups in two splits are an error; names that look like groups are a warning only where the pictures agree."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataloader.checks import groups, lines
from dataloader.checks.many_files import look_at_all
from dataloader.checks.survey import Survey
from dataloader.opening.open_catalog import open_catalog
from tests.dataloader.checks.faulty_images import save, scene


def survey_of(root: Path, **options: object) -> Survey:
    catalog = open_catalog(str(root), require_train=False, tolerant=True, **options)
    files = [split.file(index) for split in catalog.splits.values() for index in range(len(split))]
    return Survey(catalog, look_at_all(files, workers=0), (64, 64))


def write_shots(root: Path, *, objects: int, name: str, seed: int = 0, alike: bool = True) -> Path:
    """Write three shots of every object, whose names say so, into train/ and val/ by chance; shots show one thing only where `alike`."""
    rng = np.random.default_rng(seed)
    for number in range(objects):
        for shot in range(3):
            split = "val" if rng.random() < 0.3 else "train"
            picture = scene(1000 * seed + (number if alike else 3 * number + shot))
            moved = Image.fromarray(np.roll(np.asarray(picture), int(rng.integers(-6, 7)), axis=1))
            label = ["cup", "pan"][number % 2]
            save(moved, root / split / label / name.format(number=number, shot=shot, letter="abc"[shot]), quality=80)
    return root


def test_named_groups_in_two_splits_are_an_error(tmp_path):
    root = write_shots(tmp_path / "set", objects=12, name="{number:03d}_{shot}.jpg")
    survey = survey_of(root, group_by=r"([^/]+)_\d")
    (finding,) = groups.find(survey)
    torn = {f"{number:03d}" for number in range(12) if len({path.parent.parent.name for path in root.rglob(f"{number:03d}_*")}) == 2}
    assert torn, "by chance"
    assert {group.note for group in finding.groups} == torn
    assert finding.level == "error"
    for group in finding.groups:
        assert all(Path(survey.picture(number).path).name.startswith(group.note) for number in group.images)


@pytest.mark.parametrize("name", ["{number:03d}_{shot}.jpg", "obj{number}-{shot}.jpg", "{number:03d}{letter}.jpg", "{number}/{shot}.jpg"])
def test_names_and_pictures_that_speak_of_groups_are_a_warning_with_the_flag_to_name_them(tmp_path, name):
    root = write_shots(tmp_path / "set", objects=24, name=name)
    (finding,) = groups.find(survey_of(root))
    assert finding.level == "warning"
    assert "24 groups" in finding.title
    assert finding.groups
    (named,) = groups.find(survey_of(root, group_by=finding.figures["pattern"]))
    assert len(named.groups) == len(finding.groups)
    assert named.level == "error"


def test_names_alone_are_no_hint(tmp_path):
    told = [
        groups.find(survey_of(write_shots(tmp_path / str(seed), objects=24, name="{number:03d}_{shot}.jpg", seed=seed, alike=False)))
        for seed in range(8)
    ]
    assert told == [[]] * 8


def test_numbered_images_of_a_class_are_no_groups(tmp_path):
    for number in range(30):
        save(scene(number % 4), tmp_path / ("val" if number % 3 == 0 else "train") / "ab"[number % 2] / f"{'ab'[number % 2]}_{number}.jpg")
    assert groups.find(survey_of(tmp_path)) == []


def test_groups_that_are_whole_need_no_word(tmp_path):
    root = write_shots(tmp_path / "set", objects=12, name="{number:03d}_{shot}.jpg")
    for file in sorted(root.glob("val/*/*")):
        file.rename(root / "train" / file.parent.name / file.name)
    (root / "val").rename(tmp_path / "empty")
    flat = tmp_path / "set" / "train"
    assert groups.find(survey_of(flat, group_by=r"([^/]+)_\d")) == []


def test_lines_of_a_list_are_named_one_by_one(tmp_path):
    for name in "ab":
        save(scene(ord(name)), tmp_path / f"{name}.jpg")
    gone = "".join(f"gone{number}.jpg,x\n" for number in range(7))
    (tmp_path / "list.csv").write_text(f"image,label\na.jpg,x\n{gone}b.jpg,y\nb.jpg,y\na.jpg,y\n")
    found = {finding.title: finding for finding in lines.find(survey_of(tmp_path / "list.csv"))}
    missing = found["7 lines name no image that is there"]
    assert missing.level == "error"
    assert [f"line {number}:" in line for number, line in enumerate(missing.lines, start=3)] == [True] * 7
    assert found["1 line is there twice"].level == "warning"
    assert found["1 image is listed again with other values"].level == "error"
