"""Claims about data sets that are given as lists."""

import numpy as np
import pytest

from dataloader.opening.open_catalog import open_catalog
from dataloader.opening.saved_split import save_split
from dataloader.splits.integrity import fingerprint
from dataloader.targets.label import Label, Labels
from utils.errors import UserError

COLORS = ("blue", "green", "red")


@pytest.fixture
def listed(tmp_path):
    """Write a list of (labels, split) and touch its images; return the path of the list."""

    def write(cells, header="image,labels", name="list.csv"):
        lines = [header]
        for number, cell in enumerate(cells):
            (tmp_path / f"{number:03d}.png").touch()
            lines.append(f"{number:03d}.png,{cell}")
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        return str(tmp_path / name)

    return write


def random_cells(count, seed=0):
    draws = np.random.default_rng(seed).random((count, 3)) < (0.5, 0.3, 0.1)
    return [";".join(name for name, has in zip(COLORS, row, strict=True) if has) for row in draws]


def test_targets_have_a_one_for_every_label(listed, tmp_path):
    path = listed(["red;blue,train", ",train", "green,train", "red,val"], header="image,labels,split")
    catalog = open_catalog(path)
    assert catalog.classes == COLORS
    assert catalog.target is Labels
    assert catalog.split_origin == "lists"
    assert catalog.splits["train"].targets.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert catalog.splits["train"].targets.dtype == np.float32
    assert catalog.splits["val"].file(0) == str(tmp_path / "003.png")
    assert catalog.notes == ("val: no images of blue, green",)


def test_a_list_of_one_class_an_image_gives_indices(listed):
    catalog = open_catalog(listed(["cat,train", "dog,train", "cat,val"], header="image,class,split"))
    assert catalog.target is Label
    assert catalog.splits["train"].targets.tolist() == [0, 1]
    assert catalog.splits["val"].targets.dtype == np.int64


def test_a_folder_of_lists_has_its_splits(listed, tmp_path):
    listed(["red", "blue;red"], name="train.csv")
    (tmp_path / "x.png").touch()
    (tmp_path / "valid.csv").write_text("image,labels\nx.png,red\n")
    catalog = open_catalog(str(tmp_path))
    assert {name: split.targets.tolist() for name, split in catalog.splits.items()} == {"train": [[0, 1], [1, 1]], "val": [[0, 1]]}


def test_a_list_without_splits_is_split_by_label_and_remembered(listed, tmp_path):
    path = listed(random_cells(200))
    first = open_catalog(path, seed=1, val_share=0.2, test_share=0.1)
    assert first.split_origin == "seeded"
    counts = {name: split.targets.sum(0) for name, split in first.splits.items()}
    total = sum(counts.values())
    np.testing.assert_allclose(counts["val"] / total, 0.2, atol=0.06)
    np.testing.assert_allclose(counts["test"] / total, 0.1, atol=0.06)
    save_split(first, tmp_path / "split.csv")
    again = open_catalog(path, seed=2, split_file=tmp_path / "split.csv")
    assert {name: fingerprint(split) for name, split in again.splits.items()} == {
        name: fingerprint(split) for name, split in first.splits.items()
    }
    other = open_catalog(path, seed=2, val_share=0.2, test_share=0.1)
    assert other.splits["val"].paths != first.splits["val"].paths


def test_a_single_label_list_is_split_and_remembered_too(listed, tmp_path):
    path = listed(["cat", "dog"] * 10, header="image,label")
    first = open_catalog(path, val_share=0.2, test_share=0.2)
    assert {name: np.bincount(split.targets).tolist() for name, split in first.splits.items()} == {
        "train": [6, 6],
        "val": [2, 2],
        "test": [2, 2],
    }
    save_split(first, tmp_path / "split.csv")
    again = open_catalog(path, seed=5, split_file=tmp_path / "split.csv")
    assert again.splits["val"].paths == first.splits["val"].paths


def test_a_split_file_of_other_labels_is_an_error(listed, tmp_path):
    cells = random_cells(30)
    save_split(open_catalog(listed(cells)), tmp_path / "split.csv")
    cells[cells.index("blue")] = "red"
    with pytest.raises(UserError, match=r"is listed as class blue but has 'red' in the list"):
        open_catalog(listed(cells), split_file=tmp_path / "split.csv")


def test_one_list_can_be_one_split(listed):
    catalog = open_catalog(listed(["red", ""]), classes=("red", "x"), whole="test", require_train=False, target=Labels)
    assert {name: split.targets.tolist() for name, split in catalog.splits.items()} == {"test": [[1, 0], [0, 0]]}


def test_labels_that_train_or_the_model_does_not_know_are_errors(listed):
    path = listed(["red,train", "rad;red,val"], header="image,labels,split")
    with pytest.raises(UserError, match=r"val holds the class rad, which train has not\. Did you mean red\?"):
        open_catalog(path)
    with pytest.raises(UserError, match=r"train holds the class red, which the model does not know"):
        open_catalog(path, classes=("rad",))


def test_the_kind_of_labels_that_the_model_gives_is_kept(listed, tmp_path):
    single = listed(["cat", "dog"], header="image,label")
    assert open_catalog(single, classes=("cat", "dog"), whole="test", target=Labels).splits["test"].targets.tolist() == [[1, 0], [0, 1]]
    with pytest.raises(UserError, match=r"several labels, but the model gives one"):
        open_catalog(listed(["cat", "dog"]), classes=("cat", "dog"), target=Label)
    for name in ("cat", "dog"):
        (tmp_path / "folders" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=r"class folders.*--data FILE\.csv"):
        open_catalog(str(tmp_path / "folders"), classes=("cat", "dog"), target=Labels)


def test_a_list_without_training_images_or_labels_is_an_error(listed):
    with pytest.raises(UserError, match="lists no train images"):
        open_catalog(listed(["red,val"], header="image,labels,split"))
    with pytest.raises(UserError, match="no train image has a label"):
        open_catalog(listed(["", ""]), val_share=0, test_share=0)


def test_fingerprint_notices_another_label(listed):
    cells = random_cells(40)
    before = fingerprint(open_catalog(listed(cells), whole="test").splits["test"])
    assert before == fingerprint(open_catalog(listed(cells), whole="test").splits["test"])
    cells[cells.index("green")] = "red"
    assert before != fingerprint(open_catalog(listed(cells), whole="test").splits["test"])
