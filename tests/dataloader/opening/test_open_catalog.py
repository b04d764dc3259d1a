from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataloader.opening.open_catalog import open_catalog
from dataloader.opening.saved_split import save_split
from dataloader.splits.integrity import fingerprint
from utils.errors import UserError


@pytest.fixture
def empty(tmp_path):
    """Make a data set of empty files: the catalog never opens an image."""

    def make(*names, root=tmp_path / "set"):
        root.mkdir(exist_ok=True)
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return root

    return make


def flat(*, cat=10, dog=10):
    return [f"cat/{index}.png" for index in range(cat)] + [f"dog/{index}.JPG" for index in range(dog)]


def test_classes_are_the_sorted_training_folders(empty):
    root = empty("train/zebra/1.png", "train/Ant/1.png", "train/ant/1.png", "val/zebra/2.png", "val/Ant/2.png", "val/ant/2.png")
    catalog = open_catalog(str(root))
    assert catalog.classes == ("Ant", "ant", "zebra")
    assert list(catalog.splits) == ["train", "val"]
    assert catalog.split_origin == "folders"
    assert catalog.notes == ()
    assert catalog.splits["val"].paths == ("val/Ant/2.png", "val/ant/2.png", "val/zebra/2.png")
    assert catalog.splits["val"].targets.tolist() == [0, 1, 2]
    assert catalog.splits["val"].weights.tolist() == [1.0] * 3


def test_other_names_of_val_are_understood(empty):
    for name in ("valid", "Validation"):
        root = empty("train/a/1.png", "train/b/1.png", f"{name}/a/2.png", f"{name}/b/2.png", root=empty() / name)
        assert open_catalog(str(root)).splits["val"].paths == (f"{name}/a/2.png", f"{name}/b/2.png")


def test_spaces_and_unicode_are_fine(empty):
    root = empty("train/größe 1/ä b.png", "train/猫/c.jpeg", "val/größe 1/x.png", "val/猫/y.png")
    split = open_catalog(str(root)).splits["train"]
    assert split.paths == ("train/größe 1/ä b.png", "train/猫/c.jpeg")
    assert Path(split.file(0)).is_file()


def test_a_class_only_in_val_is_an_error_that_names_it(empty):
    root = empty("train/cat/1.png", "train/dog/1.png", "val/cats/1.png")
    with pytest.raises(UserError, match=r"val holds the class cats, which train has not\. Did you mean cat\?"):
        open_catalog(str(root))


def test_a_class_missing_in_val_is_a_note(empty):
    root = empty("train/cat/1.png", "train/dog/1.png", "val/dog/1.png")
    catalog = open_catalog(str(root))
    assert catalog.notes == ("val: no images of cat",)
    assert catalog.splits["val"].targets.tolist() == [1]


def test_an_empty_class_folder_in_train_is_an_error_that_names_it(empty):
    root = empty("train/cat/1.png", "train/dog/1.png", "train/fox/readme.txt")
    with pytest.raises(UserError, match=r"class folder fox"):
        open_catalog(str(root))


def test_known_classes_index_all_splits(empty):
    root = empty("train/b/1.png", "train/a/1.png", "test/b/1.png")
    catalog = open_catalog(str(root), classes=("z", "b", "a"))
    assert catalog.classes == ("z", "b", "a")
    assert catalog.splits["test"].targets.tolist() == [1]
    assert "train: no images of z" in catalog.notes


def test_a_folder_that_the_model_does_not_know_is_an_error(empty):
    root = empty("test/b/1.png", "test/c/1.png")
    with pytest.raises(UserError, match=r"class c, which the model does not know"):
        open_catalog(str(root), classes=("a", "b"), require_train=False)


def test_a_test_folder_alone_serves_evaluation_only(empty):
    root = empty("test/a/1.png", "test/b/1.png")
    assert list(open_catalog(str(root), classes=("a", "b"), require_train=False).splits) == ["test"]
    with pytest.raises(UserError, match="no train folder"):
        open_catalog(str(root))


def test_folders_beside_the_splits_are_mentioned(empty):
    root = empty("train/a/1.png", "train/b/1.png", "extra/c/1.png")
    assert open_catalog(str(root)).notes == (f"{root}: ignored extra next to train",)


def test_one_folder_of_classes_is_split(empty):
    catalog = open_catalog(str(empty(*flat())), seed=1, val_share=0.2, test_share=0.3)
    assert {name: np.bincount(split.targets).tolist() for name, split in catalog.splits.items()} == {
        "train": [5, 5],
        "val": [2, 2],
        "test": [3, 3],
    }
    assert catalog.split_origin == "seeded"
    assert len({path for split in catalog.splits.values() for path in split.paths}) == 20


def test_classes_of_a_split_folder_are_sorted_by_name_not_by_path(empty):
    # As paths, 'a b/0.png' comes before 'a/0.png'.
    root = empty(*(f"{name}/{index}.png" for name in ("a b", "a") for index in range(3)))
    assert open_catalog(str(root)).classes == ("a", "a b")


def test_one_folder_of_classes_can_be_one_split(empty):
    catalog = open_catalog(str(empty(*flat(cat=2, dog=1))), classes=("dog", "cat"), whole="test", require_train=False)
    assert catalog.splits["test"].paths == ("dog/0.JPG", "cat/0.png", "cat/1.png")
    assert list(catalog.splits) == ["test"]


def test_a_saved_split_is_read_back_whatever_the_seed(empty, tmp_path):
    root = empty(*flat())
    first = open_catalog(str(root), seed=1)
    save_split(first, tmp_path / "split.csv")
    again = open_catalog(str(root), seed=2, split_file=tmp_path / "split.csv")
    assert {name: fingerprint(split) for name, split in first.splits.items()} == {
        name: fingerprint(split) for name, split in again.splits.items()
    }
    assert again.split_origin == "seeded"


def test_new_files_are_not_added_to_a_saved_split(empty, tmp_path):
    root = empty(*flat())
    save_split(open_catalog(str(root)), tmp_path / "split.csv")
    empty("cat/new.png", "bird/new.png")
    catalog = open_catalog(str(root), split_file=tmp_path / "split.csv")
    assert sum(map(len, catalog.splits.values())) == 20
    assert catalog.classes == ("cat", "dog")
    assert len(catalog.notes) == 1
    assert "2 images are not in" in catalog.notes[0]


def test_a_split_file_that_names_missing_files_is_an_error(empty, tmp_path):
    root = empty(*flat())
    save_split(open_catalog(str(root)), tmp_path / "split.csv")
    (root / "cat" / "3.png").unlink()
    with pytest.raises(UserError, match=r"1 image that is not there, such as cat/3\.png; restore .*, or remove their lines"):
        open_catalog(str(root), split_file=tmp_path / "split.csv")


def test_a_split_file_with_other_classes_is_an_error(empty, tmp_path):
    root = empty(*flat())
    save_split(open_catalog(str(root)), tmp_path / "split.csv")
    with pytest.raises(UserError, match="dog, which the model does not know"):
        open_catalog(str(root), split_file=tmp_path / "split.csv", classes=("cat", "fox"))
    (tmp_path / "split.csv").write_text((tmp_path / "split.csv").read_text().replace(",dog,", ",fox,"))
    with pytest.raises(UserError, match=r"listed as class fox but lies in dog/"):
        open_catalog(str(root), split_file=tmp_path / "split.csv")


def test_small_classes_stay_in_train_with_a_note(empty):
    catalog = open_catalog(str(empty(*flat(dog=2))))
    assert catalog.splits["train"].targets.tolist().count(1) == 2
    assert catalog.notes == ("val: no images of dog", "test: no images of dog")


def test_how_many_classes_are_enough_is_for_the_task_to_say(empty):
    catalog = open_catalog(str(empty(*flat(dog=0))))
    assert catalog.classes == ("cat",)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "holds no images"),
        (["a.png"], "images but no class folders"),
        (["cat/notes.txt", "dog/notes.txt"], "holds no images"),
        (["cat/1.png", "dog/x.txt"], "class folder dog"),
        (["train/1.png"], "images but no class folders"),
        (["train/cat/x.txt", "train/dog/x.txt"], "no images"),
        (["train/cat/1.png", "train/dog/1.png", "val/x.txt"], "val holds no images"),
        (["digits/train/0/1.png", "digits/test/0/1.png", "README.md"], r"data sets, not classes: write --data .*set/digits"),
    ],
)
def test_a_wrong_layout_is_explained_in_one_line(empty, names, message):
    with pytest.raises(UserError, match=message) as caught:
        open_catalog(str(empty(*names)))
    assert "\n" not in str(caught.value)


def test_a_missing_folder_teaches_the_layout_and_offers_the_built_in_set(tmp_path):
    with pytest.raises(UserError, match=r"--data .*nowhere is not a folder.*train,val,test.*--data digits"):
        open_catalog(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"Did you mean digits\?"):
        open_catalog("digit")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        open_catalog(str(tmp_path / "file"))


def test_a_source_of_the_users_own_is_called(empty, tmp_path):
    root = empty(*flat())
    (tmp_path / "own_source.py").write_text(f"def find(home):\n    return {str(root)!r}\n")
    assert open_catalog(f"{tmp_path}/own_source.py:find").root == root


def test_fingerprint_notices_another_path_or_target(empty):
    root = empty("train/a/1.png", "train/b/1.png")
    before = open_catalog(str(root))
    assert fingerprint(before.splits["train"]) == fingerprint(open_catalog(str(root)).splits["train"])
    assert fingerprint(before.splits["train"]) != fingerprint(open_catalog(str(root), classes=("b", "a")).splits["train"])
    split = before.splits["train"]
    assert fingerprint(split) != fingerprint(replace(split, targets=split.targets[::-1]))
    empty("train/a/2.png")
    assert fingerprint(before.splits["train"]) != fingerprint(open_catalog(str(root)).splits["train"])


def test_a_name_of_a_source_is_offered_only_for_what_looks_like_one():
    for data, hint in {"mnits": "Did you mean mnist?", "/nonexist": None, "nonexist": None, "data/mnits": None}.items():
        with pytest.raises(UserError, match=r"is not a folder or a list") as caught:
            open_catalog(data)
        assert (hint in str(caught.value)) if hint else ("Did you mean" not in str(caught.value))


def test_a_mistyped_path_names_what_is_there(empty, monkeypatch):
    root = empty("waste/train/a/1.png", "waste/train/b/1.png", "other/x.png", ".waste/x.png")
    monkeypatch.chdir(root)
    for typed, meant in (("wastee", "waste"), ("./waaste/", "./waste"), (f"{root}/wast", f"{root}/waste"), ("../nothing/wast", "")):
        with pytest.raises(UserError) as caught:
            open_catalog(typed)
        assert (f" Did you mean {meant}?" in str(caught.value)) == bool(meant)
        assert ("Did you mean" in str(caught.value)) == bool(meant)


def test_several_unknown_classes_are_classes(empty):
    root = empty("train/cat/1.png", "train/dog/1.png", "val/cow/1.png", "val/owl/1.png")
    with pytest.raises(UserError, match="val holds the classes cow, owl, which train has not"):
        open_catalog(str(root))
