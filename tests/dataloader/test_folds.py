from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataloader.catalog import open_catalog, save_split, take_fold
from dataloader.shard_writer import ShardWriter, plan_shards
from utils.errors import UserError


@pytest.fixture
def photos(tmp_path):
    """Make a data set of empty files: the catalog never opens an image."""

    def make(**counts: dict[str, int]) -> Path:
        for split, labels in counts.items():
            for label, count in labels.items():
                (tmp_path / "set" / split / label).mkdir(parents=True)
                for number in range(count):
                    (tmp_path / "set" / split / label / f"{number}.png").touch()
        return tmp_path / "set"

    return make


def test_every_image_but_the_tests_validates_once(photos):
    catalog = open_catalog(str(photos(train={"cat": 11, "dog": 7}, val={"cat": 3, "dog": 2}, test={"cat": 2, "dog": 2})))
    pool = {*catalog.splits["train"].paths, *catalog.splits["val"].paths}
    seen = []
    for number in range(4):
        fold = take_fold(catalog, f"{number}/4", seed=0)
        assert {*fold.splits["train"].paths, *fold.splits["val"].paths} == pool
        assert not {*fold.splits["train"].paths} & {*fold.splits["val"].paths}
        assert fold.splits["test"] is catalog.splits["test"]
        for split in fold.splits.values():
            assert [catalog.classes[target] for target in split.targets] == [path.split("/")[1] for path in split.paths]
        seen += fold.splits["val"].paths
    assert sorted(seen) == sorted(pool)


def test_the_saved_parts_outrank_the_seed(photos, tmp_path):
    catalog = open_catalog(str(photos(train={"cat": 9, "dog": 9}, val={"cat": 3, "dog": 3})))
    first = take_fold(catalog, "1/3", seed=0)
    assert first.split_origin == "seeded"
    save_split(first, tmp_path / "split.csv")
    again = take_fold(catalog, "1/3", seed=5, split_file=tmp_path / "split.csv")
    assert [again.splits[name].paths for name in ("train", "val")] == [first.splits[name].paths for name in ("train", "val")]
    assert take_fold(catalog, "1/3", seed=5).splits["val"].paths != first.splits["val"].paths


def test_a_single_folder_needs_no_validation_images_of_its_own(photos):
    catalog = open_catalog(str(photos(train={"cat": 6, "dog": 6})))
    assert len(take_fold(catalog, "0/3", seed=0).splits["val"]) == 4


def test_labels_are_spread_over_the_parts(tmp_path):
    lines = [f"{number}.png,{labels}" for number, labels in enumerate(["red;blue", "red", "", "blue"] * 6)]
    (tmp_path / "list.csv").write_text("\n".join(["image,labels", *lines]) + "\n")
    for number in range(24):
        (tmp_path / f"{number}.png").touch()
    catalog = open_catalog(str(tmp_path / "list.csv"), test_share=0)
    for number in range(3):
        val = take_fold(catalog, f"{number}/3", seed=0).splits["val"]
        assert val.targets.sum(0).tolist() == [4, 4]
        assert len(val) == 8


def test_images_in_archives_can_be_folded_and_read(tmp_path, write_images):
    write_images(tmp_path / "in", dict.fromkeys(("train/cat", "train/dog", "val/cat", "val/dog"), 5))
    files = open_catalog(str(tmp_path / "in"))
    (tmp_path / "tars").mkdir()
    writer = ShardWriter(dict(files.splits), files.classes, tmp_path / "tars")
    for split in files.splits.values():
        for shard in plan_shards(split, limit=10_000, seed=0):
            writer(shard)
    whole = open_catalog(str(tmp_path / "tars"))
    pixels = {path: each.read(index).tobytes() for each in whole.splits.values() for index, path in enumerate(each.paths)}
    for number in range(2):
        fold = take_fold(whole, f"{number}/2", seed=0)
        seen = {path: each.read(index).tobytes() for each in fold.splits.values() for index, path in enumerate(each.paths)}
        assert seen == pixels


def test_the_weight_of_an_image_goes_where_the_image_goes(photos):
    catalog = open_catalog(str(photos(train={"cat": 6, "dog": 6}, val={"cat": 3, "dog": 3})))
    weights = {path: 1.0 + number for number, path in enumerate(path for split in catalog.splits.values() for path in split.paths)}
    weighed = {
        name: replace(split, weights=np.array([weights[path] for path in split.paths], np.float32))
        for name, split in catalog.splits.items()
    }
    fold = take_fold(replace(catalog, splits=weighed), "1/3", seed=0)
    assert {
        path: weight for split in fold.splits.values() for path, weight in zip(split.paths, split.weights.tolist(), strict=True)
    } == weights


def test_what_a_part_lacks_is_noted_anew(photos):
    rare = open_catalog(str(photos(train={"cat": 6, "dog": 6, "yak": 1}, val={"cat": 3})))
    assert rare.notes == ("val: no images of dog, yak",)
    assert take_fold(rare, "0/3", seed=0).notes == ("val: no images of yak",)


def test_too_many_parts_are_refused(photos):
    with pytest.raises(UserError, match="12 images are too few for 13 parts"):
        take_fold(open_catalog(str(photos(train={"cat": 6, "dog": 6}))), "0/13", seed=0)


def test_a_remembered_fold_names_images_that_are_gone(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / "data" / name / f"{number}.png")
    folded = take_fold(open_catalog(str(tmp_path / "data"), test_share=0), "0/2", seed=0)
    save_split(folded, tmp_path / "split.csv")
    (tmp_path / "data" / "a" / "0.png").unlink()
    smaller = open_catalog(str(tmp_path / "data"), test_share=0)
    with pytest.raises(UserError, match=r"a/0\.png"):
        take_fold(smaller, "0/2", seed=0, split_file=tmp_path / "split.csv")


def test_images_that_a_remembered_fold_does_not_know_are_named(photos, tmp_path):
    data = photos(train={"cat": 6, "dog": 6}, test={"cat": 1, "dog": 1})
    fold = take_fold(open_catalog(str(data)), "0/3", seed=0)
    save_split(fold, tmp_path / "split.csv")
    for place in ("train/cat/new.png", "train/dog/new.png"):
        (data / place).touch()
    again = take_fold(open_catalog(str(data)), "0/3", seed=0, split_file=tmp_path / "split.csv")
    assert [again.splits[name].paths for name in again.splits] == [fold.splits[name].paths for name in fold.splits]
    assert again.notes == (f"2 images are not in {tmp_path}/split.csv and not used, such as train/cat/new.png",)
