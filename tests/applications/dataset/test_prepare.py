"""--prepare and --shard, through the command line."""

import csv
import json
import os
import re
import shlex
import signal
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import config
from dataloader.images.read import read_image
from dataloader.opening.folds import take_fold
from dataloader.opening.open_catalog import open_catalog
from dataloader.splits.catalog import groups_of
from dataloader.targets.label import Labels
from dataloader.writers.resized import Resizer
from tests.applications.conftest import Call, Outcome


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Write one folder of two classes: 20 photographs of each, one a portrait, one damaged, two of one name."""
    for label, level in (("big cat", 60), ("dog", 180)):
        (tmp_path / "in" / label / "more").mkdir(parents=True)
        for number in range(20):
            pixels = np.random.default_rng(number).normal(level, 20, (30, 40, 3)).clip(0, 255).astype(np.uint8)
            if number == 3:
                pixels = pixels.transpose(1, 0, 2)
            Image.fromarray(pixels).save(tmp_path / "in" / label / f"{number // 2:03d}_{number % 2}.{'png' if number % 3 else 'jpg'}")
    Image.new("RGB", (50, 25), (200, 0, 0)).save(tmp_path / "in" / "dog" / "more" / "000_0.jpg")
    (tmp_path / "in" / "dog" / "zero.jpg").touch()
    return tmp_path / "in"


def rows(file: Path) -> list[list[str]]:
    return list(csv.reader(file.read_text(encoding="utf-8").splitlines()))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def prepare(photos: Path, call: Call) -> Call:
    """Return a function that prepares the photographs, in a folder beside them."""

    def run(out: str, *flags: object, data: Path = photos) -> Outcome:
        return call("--prepare", photos.parent / out, "--data", data, "--smaller_side", 16, "-j", 0, *flags)

    return run


@pytest.fixture
def shard(photos: Path, call: Call) -> Call:
    """Return a function that writes the readable photographs as shards, in a folder beside them."""
    (photos / "dog" / "zero.jpg").unlink()

    def run(out: str, *flags: object, data: Path = photos) -> Outcome:
        return call("--shard", photos.parent / out, "--data", data, "--shard_size", 0.02, "-j", 0, *flags)

    return run


def test_a_prepared_folder_is_split_resized_listed_and_measured(photos: Path, prepare: Call) -> None:
    done = prepare("out")
    assert done.code == 0
    said = done.out
    assert "zero.jpg" in said
    assert "next: python main.py --data" in said
    out = photos.parent / "out"
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["train", "val", "test", "train.csv", "val.csv", "test.csv", "categories.csv", "mean_std.json", "prepare.json", "skipped.csv"]
    )
    assert rows(out / "categories.csv") == [["id", "label"], ["0", "big cat"], ["1", "dog"]]
    listed = {split: rows(out / f"{split}.csv") for split in ("train", "val", "test")}
    assert all(lines[0] == ["image", "class"] for lines in listed.values())
    assert {split: len(lines) - 1 for split, lines in listed.items()} == {"train": 29, "val": 6, "test": 6}
    pixels = []
    for split, lines in listed.items():
        for path, number in lines[1:]:
            image = read_image(out / path)
            assert min(image.shape[:2]) == 16
            assert path.startswith(f"{split}/{['big cat', 'dog'][int(number)]}/")
            pixels += [image.reshape(-1, 3)] * (split == "train")
    assert sum(read_image(out / path).shape == (21, 16, 3) for lines in listed.values() for path, _ in lines[1:]) == 2, "portraits"
    figures = json.loads((out / "mean_std.json").read_text())
    assert figures["mean"] == pytest.approx((np.concatenate(pixels) / 255).mean(0).tolist(), abs=1e-6)
    assert figures["std"] == pytest.approx((np.concatenate(pixels) / 255).std(0).tolist(), abs=1e-6)
    assert rows(out / "skipped.csv")[1][0].endswith("zero.jpg")
    # The lists and the folders say the same.
    catalog = open_catalog(str(out))
    assert (catalog.classes, catalog.split_origin) == (("big cat", "dog"), "lists")
    assert {name: len(split) for name, split in catalog.splits.items()} == {"train": 29, "val": 6, "test": 6}


def next_command(done: Outcome) -> list[str]:
    """Return the words of the command that a call ends with, after main.py, as a shell would give them."""
    line = next(line for line in done.out.splitlines() if line.startswith("next: "))
    return shlex.split(line)[3:]


def test_enlarged_images_are_counted_also_when_the_folder_was_finished_before(photos: Path, prepare: Call) -> None:
    Image.new("RGB", (9, 50), (200, 0, 0)).save(photos / "dog" / "thin.png")
    for done in (prepare("out"), prepare("out")):
        line = f"enlarged: 1 image was smaller than --smaller_side 16, the smallest {photos / 'dog' / 'thin.png'} with 9"
        assert line in done.out
        assert json.loads((photos.parent / "out" / "prepare.json").read_text())["enlarged"] == 1
    done = prepare("more", "--smaller_side", 28)
    assert "enlarged: 2 images were smaller than --smaller_side 28" in done.out
    assert "enlarged:" not in prepare("none", "--smaller_side", 9).out


def test_the_next_command_works_as_it_is_typed(photos: Path, prepare: Call, call: Call) -> None:
    done = prepare("the cat's photos")
    command = next_command(done)
    assert command[-3:] == ["--image_size", "16", "16"]
    drawn = call("--visual_data", "train", *command)
    assert (drawn.code, drawn.err) == (0, "")
    sharded = call("--shard", photos.parent / "cat's tars", "--data", photos.parent / "the cat's photos", "--image_size", 20, 24, "-j", 0)
    command = next_command(sharded)
    assert command[1:] == [
        f"{photos.parent}/cat's tars",
        "--mean_std",
        f"{photos.parent}/the cat's photos/mean_std.json",
        "--image_size",
        "20",
        "24",
    ]
    drawn = call("--visual_data", "train", *command)
    assert (drawn.code, drawn.err) == (0, "")


def test_a_new_folder_of_the_name_of_a_source_is_told_from_it(photos: Path, call: Call) -> None:
    done = call("--prepare", "digits", "--data", photos, "-j", 0, "--smaller_side", 224)
    assert next_command(done) == ["--data", "./digits", "--mean_std", "digits/mean_std.json"]


def test_no_command_is_offered_for_a_folder_without_validation_images(prepare: Call) -> None:
    assert "next:" not in prepare("out", "--val_share", 0).out


def test_an_interrupted_preparation_goes_on_to_the_same_bytes(photos: Path, monkeypatch: pytest.MonkeyPatch, prepare: Call) -> None:
    assert prepare("whole", "-j", "2").code == 0
    calls = []
    real = Resizer.__call__

    def stop_in_the_middle(self: Resizer, copy):
        calls.append(copy)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return real(self, copy)

    with monkeypatch.context() as patch:
        patch.setattr(Resizer, "__call__", stop_in_the_middle)
        assert prepare("parts").code == 130
    parts = photos.parent / "parts"
    assert len(list(parts.rglob("*/*/*.*"))) == 11 - sum("zero" in str(copy) for copy in calls)
    assert not (parts / "train.csv").exists()
    assert prepare("parts").code == 0
    assert contents(parts) == contents(photos.parent / "whole")
    assert prepare("parts").code == 0
    assert contents(parts) == contents(photos.parent / "whole")


def test_groups_stay_together(photos: Path, prepare: Call) -> None:
    (photos / "dog" / "zero.jpg").unlink()
    assert prepare("out", "--group_by", r"(\d+)_\d", "--center_crop", "--test_share", "0").code == 0
    out = photos.parent / "out"
    assert not (out / "test.csv").exists()
    places: dict[str, set[str]] = {}
    for split in ("train", "val"):
        for path, _, group in rows(out / f"{split}.csv")[1:]:
            assert group == Path(path).stem[:3]
            places.setdefault(Path(path).stem[:3], set()).add(split)
            assert read_image(out / path).shape == (16, 16, 3)
    assert all(len(found) == 1 for found in places.values())
    assert prepare(out, "again", "--group_by", r"\d+").code == 2


def test_several_labels_are_prepared_too(photos: Path, prepare: Call) -> None:
    lines = ["image,labels", "big cat/000_0.jpg,x;y", "big cat/001_0.png,", "dog/000_0.jpg,y", "dog/001_0.png,x"]
    (photos / "list.csv").write_text("\n".join(lines))
    assert prepare("out", data=photos / "list.csv").code == 0
    catalog = open_catalog(str(photos.parent / "out"))
    assert catalog.target is Labels
    assert catalog.classes == ("x", "y")
    assert sum(split.targets.sum() for split in catalog.splits.values()) == 4
    assert all(path.count("/") == 1 for split in catalog.splits.values() for path in split.paths)


MISTAKES = {
    "foreign content": (["dog"], "holds something else and is left alone"),
    "another size": (["out", "--smaller_side", 9], "was begun with another smaller_side"),
    "inside the source": (["in/new"], "lies inside"),
    "strict": (["new", "--strict"], "cannot read the image .*zero.jpg"),
    "no pixels": (["new", "--smaller_side", 0], "--smaller_side must be above 0"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_overwritten(photos: Path, kind: str, prepare: Call) -> None:
    (photos.parent / "dog").mkdir()
    (photos.parent / "dog" / "mine.txt").touch()
    assert prepare("out").code == 0
    before = contents(photos.parent)
    (name, *flags), message = MISTAKES[kind]
    done = prepare(name, *flags)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert re.search(message, done.err)
    after = contents(photos.parent)
    assert {name: data for name, data in after.items() if name in before} == before


def test_empty_files_are_told_before_they_are_packed(photos: Path, shard: Call) -> None:
    (next(iter(photos.rglob("dog"))) / "empty.jpg").touch()
    done = shard("with an empty one")
    assert "1 file is empty, such as" in done.out
    assert "--check --data" in done.out


def test_a_pipe_with_the_name_of_an_image_is_named_and_not_waited_for(photos: Path, prepare: Call, shard: Call) -> None:
    os.mkfifo(photos / "dog" / "pipe.jpg")

    def give_up(*_: object) -> None:
        raise AssertionError("it waits for the pipe")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(30)
    try:
        prepared, sharded = prepare("out"), shard("shards")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert prepared.code == 0
    assert "dog/pipe.jpg: it is not a file" in prepared.out
    assert sharded.code == 2
    assert "dog/pipe.jpg: it is not a file" in sharded.err


def test_names_of_several_images_that_would_be_alike_are_told_apart(photos: Path, prepare: Call) -> None:
    assert prepare("out").code == 0
    names = [path for split in ("train", "val", "test") for path, _ in rows(photos.parent / "out" / f"{split}.csv")[1:]]
    assert len(names) == len({name.lower() for name in names}) == 41


def test_training_takes_the_measured_figures(photos: Path, prepare: Call) -> None:
    from applications.assemble import build_preprocess

    assert prepare("out").code == 0
    file = photos.parent / "out" / "mean_std.json"
    request = config.parse(["--data", str(photos), "--mean_std", str(file), "--pretrained", "--arch", "resnet18"])
    figures = json.loads(file.read_text())
    preprocess = build_preprocess(request.config)
    assert (list(preprocess.mean), list(preprocess.std)) == (figures["mean"], figures["std"])


def test_shards_hold_the_same_images_and_labels_as_the_folder(photos: Path, shard: Call) -> None:
    done = shard("shards")
    assert done.code == 0
    assert "next: python main.py --data" in done.out
    out = photos.parent / "shards"
    note = json.loads((out / "manifest.json").read_text())
    assert note["complete"]
    assert note["classes"] == ["big cat", "dog"]
    files = sorted(out.glob("*.tar"))
    assert len(files) > 3
    assert sorted(each["file"] for split in note["splits"].values() for each in split["shards"]) == [file.name for file in files]
    assert all(file.stat().st_size <= 20_000 + 10_240 for file in files), "up to the limit, and what ends an archive"
    whole, again = open_catalog(str(photos)), open_catalog(str(out))
    assert again.classes == whole.classes
    for name, split in whole.splits.items():
        before = sorted((int(split.targets[index]), split.read_bytes(index)) for index in range(len(split)))
        other = again.splits[name]
        assert sorted((int(other.targets[index]), other.read_bytes(index)) for index in range(len(other))) == before
    with tarfile.open(out / "train-000000.tar") as archive:
        first = archive.getnames()
    assert first[0].startswith("000000000.")
    assert "000000000.cls" in first


def test_an_interrupted_sharding_goes_on_to_the_same_bytes(photos: Path, shard: Call, call: Call) -> None:
    assert shard("whole").code == 0
    assert shard("parts").code == 0
    parts = photos.parent / "parts"
    (parts / "train-000001.tar").unlink()
    note = json.loads((parts / "manifest.json").read_text())
    (parts / "manifest.json").write_text(json.dumps({**note, "complete": False}))
    early = call("--write_matrix", parts.parent / "m.csv", "--data", parts)
    assert early.code == 2
    assert "is not finished: run the same --shard again" in early.err
    assert shard("parts").code == 0
    assert contents(parts) == contents(photos.parent / "whole")
    assert shard("parts", "--seed", "5").code == 2


def test_shards_of_several_labels_and_from_shards(photos: Path, shard: Call) -> None:
    lines = ["image,labels", "big cat/000_0.jpg,x;y", "big cat/001_0.png,", "dog/000_0.jpg,y", "dog/001_0.png,x"]
    (photos / "list.csv").write_text("\n".join(lines))
    assert shard("a", data=photos / "list.csv").code == 0
    assert shard("b", data=photos.parent / "a").code == 0
    for name in ("a", "b"):
        catalog = open_catalog(str(photos.parent / name), require_train=False)
        assert catalog.target is Labels
        assert sum(split.targets.sum() for split in catalog.splits.values()) == 4


def test_groups_travel_with_a_prepared_folder_and_with_shards(photos: Path, prepare: Call, call: Call) -> None:
    (photos / "dog" / "zero.jpg").unlink()
    assert prepare("out", "--group_by", r"(\d+)_\d", "--test_share", "0").code == 0
    out = photos.parent / "out"
    assert call("--shard", "tars", "--data", out, "-j", 0).code == 0
    of_folder, of_shards = open_catalog(str(out)), open_catalog("tars")
    assert all(all(split.groups) for split in (*of_folder.splits.values(), *of_shards.splits.values()))
    for catalog in (of_folder, of_shards):
        for seed in range(5):
            fold = take_fold(catalog, "0/2", seed=seed)
            assert not set(fold.splits["train"].groups) & set(fold.splits["val"].groups)
    again = call("--prepare", "again", "--data", out, "-j", 0)
    assert again.code == 0
    assert groups_of(open_catalog("again").splits.values()) == groups_of(of_folder.splits.values())
