"""The data check from the command line: exit codes, files, --fix and --undo; and the leak warning of training."""

import json
import shlex
import shutil
import time
from pathlib import Path

import pytest

from applications.dataset.written_data import name_of_data
from tests.applications.conftest import NETS, Call, tiny, write_colors
from tests.dataloader.checks.faulty_images import write_faulty


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    return write_faulty(tmp_path / "toys")


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def test_a_faulty_data_set_is_reported_and_ends_with_1(call: Call, toys: Path) -> None:
    outcome = call("--check", "--data", toys)
    assert outcome.code == 1, outcome.err
    assert "leakage: 1 picture stands in two splits, byte for byte; train/boat/boat00.jpg = test/boat/again.jpg" in outcome.out
    assert "--check --fix" in outcome.out
    report = json.loads(Path("runs/check/toys/check.json").read_text())
    assert report["levels"]["error"] == 8
    assert report["images"]["train"] == 45
    leak = next(finding for finding in report["findings"] if finding["check"] == "leakage")
    assert leak["fixable"] == ["train/boat/boat00.jpg"]
    assert leak["groups"][0]["images"][0] == {"split": "train", "label": "boat", "path": "train/boat/boat00.jpg"}
    page = Path("runs/check/toys/check.html").read_text()
    assert page.count("data:image/jpeg") > 15
    assert "http" not in page, "the page needs no network"
    for finding in report["findings"]:
        assert finding["title"].replace(">", "&gt;").replace("<", "&lt;") in page


def test_a_good_data_set_ends_with_0_and_earlier_reports_stay(call: Call, colors: Path) -> None:
    for folder in ("my colors", "my colors-2"):
        outcome = call("--check", "--data", colors, "-j", 0)
        assert outcome.code == 0, outcome.out
        assert "0 errors" in outcome.out
        assert f"runs/check/{folder}/check.html" in outcome.out


@pytest.mark.parametrize("split", [True, False], ids=["split", "flat"])
def test_an_empty_class_folder_is_an_error_beside_the_other_findings(call: Call, toys: Path, split: bool) -> None:
    root = toys if split else toys / "train"
    (toys / "train" / "ghost").mkdir()
    outcome = call("--check", "--data", root, "-j", 0)
    assert outcome.code == 1, outcome.err
    assert "1 class folder holds no images to train on: ghost" in outcome.out
    assert "empty file" in outcome.out
    report = json.loads(Path(f"runs/check/{root.name}/check.json").read_text())
    found = [finding for finding in report["findings"] if "ghost" in finding["title"]]
    assert [finding["level"] for finding in found if "class folder" in finding["title"]] == ["error"]
    assert not any("train: no images" in finding["title"] for finding in found)
    assert "no images in the class folder ghost" in call(*tiny(root)).err


def test_a_report_is_called_by_the_name_that_was_given(tmp_path: Path) -> None:
    assert name_of_data("shapes", Path("data/shapes/images")) == "shapes"
    assert name_of_data(str(tmp_path / "my toys"), tmp_path / "my toys") == "my toys"


def test_fix_moves_what_it_may_and_undo_brings_all_of_it_back(call: Call, toys: Path) -> None:
    before = names(toys)
    outcome = call("--check", "--fix", "--data", toys)
    assert outcome.code == 1, "the pipe, the link and the conflict need a person"
    assert before - names(toys) == {f"train/boat/{name}" for name in ("empty.jpg", "text.jpg", "cut.jpg", "huge.png", "boat00.jpg")}
    log = toys.parent / "toys.quarantine/toys/moved.csv"
    assert "leakage: the same as test/boat/again.jpg" in log.read_text()
    assert str(log) in outcome.out
    assert call("--undo", log).code == 0
    assert names(toys) == before
    assert call("--undo", log).code == 2


def test_a_data_set_that_fix_made_good_ends_with_0(call: Call, tmp_path: Path) -> None:
    data = write_colors(tmp_path / "data", {"train": 4, "val": 2})
    shutil.copy(data / "train/red/0.png", data / "val/red/x.png")
    (data / "val/red/1.png").write_bytes(b"")
    assert call("--check", "--fix", "--data", data).code == 0
    assert call("--check", "--data", data).code == 0


def test_a_single_folder_and_a_list_can_be_checked(call: Call, tmp_path: Path) -> None:
    data = write_colors(tmp_path / "data", {"": 6})
    assert call("--check", "--data", data).code == 0
    (data / "list.csv").write_text("image,label\nred/0.png,red\nred/1.png,red\nblue/0.png,blue\nblue/1.png,blue\n")
    assert call("--check", "--data", data / "list.csv").code == 0
    refused = call("--check", "--fix", "--data", data / "list.csv")
    assert refused.code == 2
    assert "take the lines out of the list" in refused.err


def test_the_next_command_works_as_it_is_typed(call: Call, tmp_path: Path) -> None:
    data = write_colors(tmp_path / "the cat's data", {"": 6})
    (data / "red" / "0.png").write_bytes(b"")
    outcome = call("--check", "--data", data, "--seed", 3, "--val_share", 0.3, "-j", 0)
    assert "1 error, 1 warning" in outcome.out
    line = next(line for line in outcome.out.splitlines() if line.startswith("next: "))
    command = shlex.split(line, comments=True)[3:]
    assert command == ["--check", "--fix", "--data", str(data), "--seed", "3", "--val_share", "0.3"]
    assert call(*command, "-j", 0).code == 0
    (data / "red" / "1.png").write_bytes(b"")
    (data / "list.csv").write_text("image,label\nred/1.png,red\nred/2.png,red\nblue/0.png,blue\nblue/1.png,blue\n")
    assert f"next: take the lines of these files out of {data}/list.csv" in call("--check", "--data", data / "list.csv", "-j", 0).out


def test_fix_without_check_is_refused(call: Call, colors: Path) -> None:
    outcome = call("--fix", "--data", colors)
    assert outcome.code == 2
    assert "--fix belongs to --check" in outcome.err
    assert "--nproc belongs to training" in call("--check", "--data", colors, "--nproc", 2).err


def test_training_warns_of_leaks_in_one_line_and_in_its_log(call: Call, tmp_path: Path) -> None:
    data = write_colors(tmp_path / "data", {"train": 10, "val": 4})
    shutil.copy(data / "train/red/0.png", data / "val/red/x.png")
    outcome = call(*tiny(data, "--epochs", 1))
    assert outcome.code == 0, outcome.err
    (line,) = [line for line in outcome.out.splitlines() if "leakage" in line]
    assert "1 image of a later split" in line
    assert "val/red/x.png = train/red/0.png" in line
    assert "leakage: 1 image" in (outcome.run / "log.txt").read_text()


@pytest.mark.parametrize(("layout", "flags"), [("train", ("--seed", 2, "--fold", "0/3")), ("", ("--seed", 3, "--val_share", 0.4))])
def test_the_command_that_training_names_shows_the_leaks(call: Call, tmp_path: Path, layout: str, flags: tuple[object, ...]) -> None:
    data = write_colors(tmp_path / "data", {layout: 10})
    for number in range(6):
        shutil.copy(data / layout / f"red/{number}.png", data / layout / f"red/copy{number}.png")
    outcome = call(*tiny(data, "--epochs", 1, *flags))
    line = next(line for line in outcome.out.splitlines() if "leakage" in line)
    leaks = int(line.split("leakage: ")[1].split()[0])
    command = shlex.split(line.split("See ")[1])[2:]
    assert command == ["--check", "--data", str(data), *map(str, flags)]
    checked = call(*command, "-j", 0)
    assert checked.code == 1
    assert f"leakage: {leaks} picture" in checked.out


def test_the_leak_check_of_training_is_quick(tmp_path: Path) -> None:
    """2,000 files of sizes that often agree; 10,000 of them are to take a second."""
    from dataloader.opening.open_catalog import open_catalog
    from dataloader.splits.integrity import find_leaks, stamp

    for number in range(2000):
        file = tmp_path / ("val" if number % 5 == 0 else "train") / f"c{number % 2}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(number.to_bytes(4) * (500 + number % 50))
    catalog = open_catalog(str(tmp_path))
    start = time.process_time()
    assert find_leaks(catalog) == []
    assert stamp(catalog.splits["train"]).stamps.shape == (1600, 2)
    assert time.process_time() - start < 1.0


def test_links_to_one_picture_are_no_copies_to_move_away(call: Call, tmp_path: Path) -> None:
    data = write_colors(tmp_path / "data", {"train": 4, "val": 2})
    (data / "val" / "red" / "again.png").symlink_to(data / "train" / "red" / "0.png")
    call("--check", "--fix", "--data", data)
    assert (data / "train" / "red" / "0.png").is_file()
    assert (data / "val" / "red" / "again.png").is_file()


def test_a_list_with_missing_files_is_told_line_by_line(call: Call, colors: Path) -> None:
    images = [f"{path},{path.parent.name}\n" for path in sorted(colors.rglob("*.png"))]
    gone = "".join(f"gone/{number}.png,red\n" for number in range(7))
    Path("list.csv").write_text("image,label\n" + gone + "".join(images) + images[0])
    outcome = call("--check", "--data", "list.csv", "-j", 0)
    assert outcome.code == 1
    for number in range(7):
        assert f"line {number + 2}: there is no image gone/{number}.png" in " ".join(outcome.out.split())
    assert "1 line is there twice" in outcome.out
    (missing,) = [each for each in json.loads(Path("runs/check/list/check.json").read_text())["findings"] if each["lines"][6:]]
    assert missing["level"] == "error"
    trained = call(*tiny("list.csv"))
    assert trained.code == 2
    assert "line 2: there is no image gone/0.png" in trained.err
    assert "6 more lines cannot be used: --check names all" in trained.err


def test_groups_in_two_splits_are_told_before_training_and_by_a_check(call: Call, colors: Path) -> None:
    outcome = call(*tiny(colors, "--group_by", r"(\w+/\d+)\.png", "--epochs", 1))
    assert outcome.code == 0, outcome.err
    assert "leakage: 15 groups stand in two splits, such as" in outcome.out
    assert "groups    60 of 1 to 3 images" in outcome.out
    checked = call("--check", "--data", colors, "--group_by", r"(\w+/\d+)\.png", "-j", 0)
    assert checked.code == 1
    assert "15 groups stand in two splits" in checked.out


def test_a_training_without_validation_images_says_how_to_get_some(call: Call, tmp_path: Path) -> None:
    data = write_colors(tmp_path / "half", {"train": 10, "test": 2})
    outcome = call(*tiny(data))
    assert outcome.code == 2
    assert "--val_share 0.15 holds out that share of train" in outcome.err
    assert "--fold 0/5" in outcome.err
    trained = call(*tiny(data, "--val_share", 0.2, "--epochs", 1))
    assert trained.code == 0, trained.err
    assert "24 train, 6 val, 6 test images" in trained.out
    evaluated = call("--evaluation", "--resume", trained.run, "--split", "val", "--no_report", "--arch", f"{NETS}:TinyNet")
    assert evaluated.code == 0, evaluated.err
    assert "6 val images" in evaluated.out
    assert call("--resume", trained.run, "--epochs", 2, "--arch", f"{NETS}:TinyNet").code == 0
    single = call(*tiny(write_colors(tmp_path / "one", {"": 1})))
    assert single.code == 2
    assert "No class has the three images of which one could be held out" in single.err
