from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataloader.opening.folds import take_fold
from dataloader.opening.open_catalog import open_catalog
from dataloader.opening.saved_split import save_split
from dataloader.writers.shards import ShardWriter, plan_shards
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


@pytest.fixture
def shots(tmp_path):
    """Return a folder of two classes: thirty objects of three to five empty files each, whose names say which object."""
    for number in range(30):
        for shot in range(3 + number % 3):
            file = tmp_path / "shots" / ["cup", "pan"][number % 2] / f"{number:03d}_{shot}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    return tmp_path / "shots"


OBJECT = r"([^/]+)_\d+\."


def objects(split):
    return {Path(path).stem[:3] for path in split.paths}


def test_groups_are_whole_in_every_cut(shots, tmp_path):
    lines = [f"{path.relative_to(tmp_path)},{path.parent.name},{path.stem[:3]}\n" for path in sorted(shots.rglob("*.png"))]
    (tmp_path / "list.csv").write_text("image,label,group\n" + "".join(lines))
    (tmp_path / "several.csv").write_text("image,labels,group\n" + "".join(lines))
    for data, options in ((shots, {"group_by": OBJECT}), (tmp_path / "list.csv", {}), (tmp_path / "several.csv", {})):
        for seed in range(5):
            catalog = open_catalog(str(data), seed=seed, **options)
            folds = [take_fold(catalog, f"{number}/4", seed=seed) for number in range(4)]
            for cut in (catalog, *folds):
                held = [objects(split) for split in cut.splits.values()]
                assert len(held) == 3
                assert sum(map(len, held)) == len(set().union(*held)) == 30
            assert sorted(path for fold in folds for path in fold.splits["val"].paths) == sorted(
                path for name in ("train", "val") for path in catalog.splits[name].paths
            )


def test_fewer_groups_than_parts_are_refused(shots):
    catalog = open_catalog(str(shots), group_by=OBJECT, val_share=0, test_share=0)
    with pytest.raises(UserError, match="--fold 0/40: 30 groups of images are too few for 40 parts"):
        take_fold(catalog, "0/40", seed=0)
    with pytest.raises(UserError, match="no class has two groups, of which one could validate"):
        take_fold(open_catalog(str(shots), group_by="(cup|pan)", val_share=0, test_share=0), "0/2", seed=0)


def test_one_image_a_class_cannot_be_folded(photos):
    with pytest.raises(UserError, match="no class has two images, of which one could validate"):
        take_fold(open_catalog(str(photos(train={"cat": 1, "dog": 1}))), "0/2", seed=0)


def test_validation_images_come_out_of_train_where_a_share_asks_for_them(photos, tmp_path):
    data = str(photos(train={"cat": 20, "dog": 10}, test={"cat": 4, "dog": 4}))
    assert set(open_catalog(data).splits) == {"train", "test"}
    catalog = open_catalog(data, val_share=0.2)
    assert {name: np.bincount(split.targets).tolist() for name, split in catalog.splits.items()} == {
        "train": [16, 8],
        "val": [4, 2],
        "test": [4, 4],
    }
    assert catalog.split_origin == "seeded"
    save_split(catalog, tmp_path / "split.csv")
    again = open_catalog(data, seed=7, split_file=tmp_path / "split.csv", require_train=False)
    assert {name: split.paths for name, split in again.splits.items()} == {name: split.paths for name, split in catalog.splits.items()}


def test_own_validation_images_are_left_as_they_are(photos):
    catalog = open_catalog(str(photos(train={"cat": 6, "dog": 6}, val={"cat": 1, "dog": 1})), val_share=0.5)
    assert len(catalog.splits["val"]) == 2


def test_validation_images_out_of_train_keep_groups_whole(shots, tmp_path):
    (tmp_path / "set").mkdir()
    shots.rename(tmp_path / "set" / "train")
    catalog = open_catalog(str(tmp_path / "set"), val_share=0.3, group_by=OBJECT)
    assert not objects(catalog.splits["train"]) & objects(catalog.splits["val"])
    assert len(catalog.splits["val"]) / len(list((tmp_path / "set").rglob("*.png"))) == pytest.approx(0.3, abs=0.03)
