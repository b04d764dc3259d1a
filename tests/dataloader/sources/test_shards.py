"""Tar archives of samples: read in any order, like the files they were made of."""

import io
import json
import os
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from dataloader.images.preprocess import Preprocess
from dataloader.images.read import ImageError
from dataloader.loading.loader import Loader
from dataloader.opening.open_catalog import open_catalog
from dataloader.opening.saved_split import save_split
from dataloader.splits.integrity import fingerprint
from dataloader.targets.label import Labels
from utils.errors import UserError
from utils.user_cache import cache_folder


def png(number):
    pixels = np.random.default_rng(number).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            data = data.encode() if isinstance(data, str) else data
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def samples(first, count, label=lambda number: str(number % 2)):
    members = {}
    for number in range(first, first + count):
        members |= {f"{number:06d}.png": png(number), f"{number:06d}.cls": label(number)}
    return members


@pytest.fixture
def folder(tmp_path):
    write_tar(tmp_path / "set" / "train-000000.tar", samples(0, 4))
    write_tar(tmp_path / "set" / "train-000001.tar", samples(4, 3))
    write_tar(tmp_path / "set" / "val-000000.tar", samples(7, 2))
    return tmp_path / "set"


def test_every_image_is_read_from_where_it_lies(folder):
    catalog = open_catalog(str(folder))
    assert catalog.classes == ("0", "1")
    train = catalog.splits["train"]
    assert (len(train), len(catalog.splits["val"])) == (7, 2)
    for index, path in enumerate(train.paths):
        number = int(path.split("/")[1].split(".")[0])
        assert path.startswith("train-00000" + str(int(number >= 4)))
        assert train.targets[index] == number % 2
        assert train.read_bytes(index) == png(number)
        assert train.stamp(index) == (len(png(number)), (folder / path.split("/")[0]).stat().st_mtime_ns)
        assert np.array_equal(train.read(index), np.asarray(Image.open(io.BytesIO(png(number)))))


def test_batches_do_not_depend_on_the_workers_and_may_start_anywhere(folder):
    split = open_catalog(str(folder)).splits["train"]

    def batches(workers, start=0):
        loader = Loader(split, Preprocess((8, 8)), batch_size=2, workers=workers, seed=3, shuffle=True)
        try:
            return [(batch.indices.tolist(), batch.images.sum().item()) for batch in loader.batches(1, start)]
        finally:
            loader.close()

    assert batches(2) == batches(0)
    assert batches(0, 2) == batches(0)[2:]


def test_a_split_can_be_sent_to_another_process(folder):
    split = open_catalog(str(folder)).splits["train"]
    assert pickle.loads(pickle.dumps(split)).read_bytes(5) == split.read_bytes(5)


@pytest.mark.parametrize("names", [["train/a.tar", "val/b.tar"], ["Train_1.tar", "validation.tar"], ["train/train-0.tar", "val/x.tar"]])
def test_names_of_archives_or_of_their_folders_say_the_split(tmp_path, names):
    for number, name in enumerate(names):
        write_tar(tmp_path / "set" / name, samples(2 * number, 2))
    assert {split: len(images) for split, images in open_catalog(str(tmp_path / "set")).splits.items()} == {"train": 2, "val": 2}


def test_braces_name_several_archives(folder):
    catalog = open_catalog(str(folder / "{train-00000{0..1},val-000000}.tar"))
    assert {split: len(images) for split, images in catalog.splits.items()} == {"train": 7, "val": 2}
    with pytest.raises(UserError, match=r"there is no file .*train-000002\.tar, nor 1 more"):
        open_catalog(str(folder / "train-{000000..000003}.tar"))
    with pytest.raises(UserError, match="braces are not balanced"):
        open_catalog(str(folder / "train-{000000..000003.tar"))


def test_archives_without_a_split_are_split_and_remembered(tmp_path):
    archive = write_tar(tmp_path / "all.tar", samples(0, 20))
    catalog = open_catalog(str(archive), seed=4)
    assert catalog.split_origin == "seeded"
    save_split(catalog, tmp_path / "split.csv")
    again = open_catalog(str(archive), split_file=tmp_path / "split.csv")
    assert {name: fingerprint(split) for name, split in again.splits.items()} == {
        name: fingerprint(split) for name, split in catalog.splits.items()
    }
    assert len(open_catalog(str(archive), whole="test").splits["test"]) == 20


def test_labels_may_be_names_numbers_with_names_or_several(tmp_path):
    names = write_tar(tmp_path / "a" / "train.tar", samples(0, 4, lambda number: ["cat", "dog"][number % 2]))
    assert open_catalog(str(names)).classes == ("cat", "dog")
    (tmp_path / "a" / "manifest.json").write_text(json.dumps({"classes": ["x", "y"]}))
    assert open_catalog(str(names)).classes == ("cat", "dog")
    numbers = write_tar(tmp_path / "a" / "train.tar", samples(0, 4))
    assert open_catalog(str(numbers)).classes == ("x", "y")
    several = {
        "a.png": png(0),
        "a.json": '{"labels": ["p", "q"]}',
        "b/c.d.png": png(1),
        "b/d.jpg": png(1),
        "b/d.json": '{"labels": []}',
    }
    del several["b/c.d.png"]
    catalog = open_catalog(str(write_tar(tmp_path / "b" / "train.tar", several)))
    assert catalog.target is Labels
    assert catalog.splits["train"].targets.tolist() == [[1, 1], [0, 0]]


def test_an_archive_is_looked_through_once_until_it_changes(folder, monkeypatch):
    open_catalog(str(folder))
    assert len(list((cache_folder() / "shards").iterdir())) >= 3
    monkeypatch.setattr(tarfile, "open", lambda *_: pytest.fail("looked through again"))
    assert len(open_catalog(str(folder)).splits["train"]) == 7
    monkeypatch.undo()
    write_tar(folder / "train-000001.tar", samples(4, 6))
    assert len(open_catalog(str(folder)).splits["train"]) == 10


def test_an_archive_that_changes_during_the_run_is_named(folder):
    split = open_catalog(str(folder)).splits["train"]
    os.utime(folder / "train-000000.tar", (1, 1))
    # No fault of one image, which training would leave out.
    with pytest.raises(UserError, match=r"train-000000\.tar has changed") as caught:
        split.read(0)
    assert not isinstance(caught.value, ImageError)
    (folder / "train-000000.tar").unlink()
    with pytest.raises(ImageError, match="No such file"):
        split.read(0)


def test_a_damaged_image_inside_is_named(tmp_path):
    members = {**samples(0, 3), "000002.png": png(2)[:60]}
    split = open_catalog(str(write_tar(tmp_path / "train.tar", members))).splits["train"]
    with pytest.raises(ImageError, match=r"cannot read the image .*train\.tar/000002\.png: "):
        split.read(split.paths.index("train.tar/000002.png"))


def test_class_folders_outrank_a_forgotten_archive(tmp_path):
    write_tar(tmp_path / "original.tar", samples(0, 2))
    for name in ("cat", "dog"):
        for number in range(4):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{number}.png").touch()
    assert open_catalog(str(tmp_path)).classes == ("cat", "dog")


BAD = {
    "no label": ({"a.png": b"x"}, r"train\.tar: a\.png has no label; put a a\.cls or \.json next to it"),
    "no image": ({"a.cls": "1"}, r"train\.tar holds no images"),
    "two images": ({"a.png": b"x", "a.jpg": b"x", "a.cls": "1"}, r"the sample a has two images, a\.png and a\.jpg"),
    "bad JSON": ({"a.png": b"x", "a.json": "{"}, r"train\.tar/a\.json: cannot read the label"),
    "no key": ({"a.png": b"x", "a.json": '{"caption": "x"}'}, r"train\.tar/a\.json: no label; write one of labels, label"),
    "no name": ({"a.png": b"x", "a.json": '{"label": 1.5}'}, r"train\.tar/a\.json: the label is 1\.5"),
    "empty": ({"a.png": b"x", "a.cls": " "}, r"train\.tar/a\.png: .* has no label"),
    "no name for it": ({"a.png": b"x", "a.cls": "7"}, r"has the class 7, which .*manifest\.json does not name"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_archive_is_one_line_that_names_it(tmp_path, kind):
    members, message = BAD[kind]
    (tmp_path / "manifest.json").write_text('{"classes": ["a"]}')
    with pytest.raises(UserError, match=message) as caught:
        open_catalog(str(write_tar(tmp_path / "train.tar", members)))
    assert "\n" not in str(caught.value)


def test_what_is_no_archive_or_truncated_is_one_line(tmp_path, folder):
    (tmp_path / "x.tar").write_text("hello" * 300)
    with pytest.raises(UserError, match=r"x\.tar is damaged, compressed or not a tar archive"):
        open_catalog(str(tmp_path / "x.tar"))
    whole = (folder / "train-000000.tar").read_bytes()
    (tmp_path / "y.tar").write_bytes(whole[:700])
    with pytest.raises(UserError, match=r"y\.tar is damaged"):
        open_catalog(str(tmp_path / "y.tar"))


def test_some_archives_without_a_split_among_others_are_an_error(folder):
    write_tar(folder / "extra.tar", samples(0, 2))
    with pytest.raises(UserError, match=r"extra\.tar is not train, val or test"):
        open_catalog(str(folder))


def test_a_manifest_of_something_else_is_an_error(folder):
    (folder / "manifest.json").write_text("[]")
    with pytest.raises(UserError, match=r"manifest\.json is not a manifest of shards"):
        open_catalog(str(folder))
