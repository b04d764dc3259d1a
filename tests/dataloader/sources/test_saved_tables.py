"""Folders that the package datasets saved; a stand-in takes the package's place where it is not installed."""

import io
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dataloader.images.read import ImageError
from dataloader.opening.open_catalog import open_catalog
from dataloader.targets.label import Labels
from utils.errors import UserError


def png(number):
    pixels = np.random.default_rng(number).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class FakeImage:
    def __init__(self, decode=True):
        self.decode = decode


class FakeClasses:
    names = ("cat", "dog")


class FakeTable:
    """As much of datasets.Dataset as is used."""

    def __init__(self, cells, labels, kind):
        self.columns = {"picture": cells, "label": labels}
        self.features = {"picture": FakeImage(), "label": kind}

    def cast_column(self, name, kind):
        assert name == "picture"
        assert not kind.decode
        return self

    def select_columns(self, names):
        assert names == ["picture"]
        return self

    def __len__(self):
        return len(self.columns["picture"])

    def with_format(self, name):
        assert name == "arrow"
        return FakeArrow(self.columns)

    def __getitem__(self, key):
        return self.columns[key] if isinstance(key, str) else {"picture": self.columns["picture"][key]}


class FakeArrow:
    """As much of a slice of pyarrow.Table is used."""

    def __init__(self, columns):
        self.columns = columns

    def __getitem__(self, rows):
        return FakeArrow({name: values[rows] for name, values in self.columns.items()})

    def column(self, name):
        return self.columns[name]


class FakeCompute:
    """As much of pyarrow.compute as is used."""

    @staticmethod
    def struct_field(cells, name):
        return [cell and cell[name] for cell in cells]

    @staticmethod
    def binary_length(values):
        return SimpleNamespace(to_pylist=lambda: [None if value is None else len(value) for value in values])


class FakePackage:
    Image = FakeImage

    class DatasetDict(dict):
        pass

    def __init__(self, saved):
        self.load_from_disk = lambda _: saved


@pytest.fixture
def saved(tmp_path, monkeypatch):
    def save(content, name="dataset_dict.json"):
        (tmp_path / name).touch()
        monkeypatch.setitem(sys.modules, "datasets", FakePackage(content))
        monkeypatch.setitem(sys.modules, "pyarrow.compute", FakeCompute)
        return str(tmp_path)

    return save


def cell(number):
    return {"bytes": png(number), "path": None}


def test_splits_classes_and_images_are_those_of_the_tables(saved, tmp_path):
    (tmp_path / "own.png").write_bytes(png(1))
    cells = [cell(0), {"bytes": None, "path": str(tmp_path / "own.png")}, {"bytes": None, "path": str(tmp_path / "gone.png")}]
    train, other = FakeTable(cells, [0, 1, 1], FakeClasses()), FakeTable([cell(4), cell(5)], [1, 0], FakeClasses())
    catalog = open_catalog(saved(FakePackage.DatasetDict(train=train, validation=other)))
    assert catalog.classes == ("cat", "dog")
    split = catalog.splits["train"]
    assert split.paths == ("train/00000000", "train/00000001", "train/00000002")
    assert [split.read_bytes(index) for index in (0, 1)] == [png(0), png(1)]
    assert split.stamp(0) == (len(png(0)), 0)
    assert catalog.splits["val"].read(0).shape == (4, 5, 3)
    with pytest.raises(ImageError, match=r"train/00000002: .*gone\.png: No such file"):
        split.read(2)


def test_no_image_is_read_for_its_size(saved, tmp_path, monkeypatch):
    (tmp_path / "own.png").write_bytes(png(1))
    cells = [cell(0), {"bytes": None, "path": str(tmp_path / "own.png")}, {"bytes": None, "path": str(tmp_path / "gone.png")}, None]
    catalog = open_catalog(saved(FakePackage.DatasetDict(train=FakeTable(cells, [0, 1, 1, 1], FakeClasses()))))
    split = catalog.splits["train"]
    monkeypatch.setattr(type(split.store), "read_bytes", None)
    assert [split.stamp(index).size for index in (0, 1)] == [len(png(0)), len(png(1))]
    with pytest.raises(ImageError, match=r"gone\.png: No such file"):
        split.stamp(2)
    with pytest.raises(ImageError, match="the cell is empty"):
        split.stamp(3)


def test_lists_of_labels_mean_several(saved):
    table = FakeTable([cell(0), cell(1)], [["a", "b"], []], object())
    catalog = open_catalog(saved(FakePackage.DatasetDict(train=table)))
    assert catalog.target is Labels
    assert catalog.splits["train"].targets.tolist() == [[1, 1], [0, 0]]


def test_a_single_table_is_split(saved, tmp_path):
    (tmp_path / "state.json").touch()
    table = FakeTable([cell(number) for number in range(20)], [0, 1] * 10, FakeClasses())
    assert open_catalog(saved(table, "dataset_info.json")).split_origin == "seeded"


def test_what_cannot_be_used_is_one_line(saved):
    table = FakeTable([cell(0)], [0], FakeClasses())
    with pytest.raises(UserError, match="has the split 'unsupervised'; known are train"):
        open_catalog(saved(FakePackage.DatasetDict(unsupervised=table)))
    del table.features["label"]
    with pytest.raises(UserError, match="has the columns picture; needed are one of images, and one of label"):
        open_catalog(saved(FakePackage.DatasetDict(train=table)))


def test_without_the_package_a_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    (tmp_path / "dataset_dict.json").touch()
    with pytest.raises(UserError, match="not installed: pip install datasets"):
        open_catalog(str(tmp_path))


def test_the_package_itself_is_understood(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["dog", "cat"])})
    pyarrow = pytest.importorskip("pyarrow")
    cells = pyarrow.array([cell(number) for number in range(6)], type=features["image"].pa_type)
    arrow = datasets.table.InMemoryTable(pyarrow.table({"image": cells, "label": pyarrow.array([0, 1] * 3)}))
    # With a fingerprint of its own, the package need not pickle the table to make one.
    table = datasets.Dataset(arrow, info=datasets.DatasetInfo(features=features), fingerprint="of-a-test")
    datasets.DatasetDict(train=table, test=table).save_to_disk(str(tmp_path / "set"))
    split = open_catalog(str(tmp_path / "set")).splits["train"]
    assert split.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert split.paths[0] == "train/00000001", "class 1, cat, comes first"
    assert pickle.loads(pickle.dumps(split)).read_bytes(0) == png(1)
    assert [split.stamp(index).size for index in range(6)] == [len(split.read_bytes(index)) for index in range(6)]


def test_a_column_of_groups_is_read(saved, tmp_path):
    table = FakeTable([cell(number) for number in range(12)], [0, 1] * 6, FakeClasses())
    table.columns["group"] = [None if number == 3 else f"object {number // 2}" for number in range(12)]
    table.features["group"] = None
    (tmp_path / "state.json").touch()
    catalog = open_catalog(saved(table, "dataset_info.json"), whole="train")
    split = catalog.splits["train"]
    assert dict(zip(split.paths, split.groups, strict=True)) == {
        f"all/{number:08d}": "" if number == 3 else f"object {number // 2}" for number in range(12)
    }
