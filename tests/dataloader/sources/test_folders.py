import os
from types import SimpleNamespace

import pytest

from dataloader.sources import folders
from dataloader.sources.folders import image_files, is_image_name, scan_classes, split_folders, subfolders
from utils.errors import UserError


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.png", "a.b.bmp", "é ñ.webp", "a.tif", "a.TIFF", "a.gif"])
def test_known_suffixes_are_images_in_either_case(name):
    assert is_image_name(name)


@pytest.mark.parametrize("name", [".a.jpg", "a.txt", "jpg", "a.jpg.part", "Thumbs.db", "a.mp4"])
def test_other_names_are_no_images(name):
    assert not is_image_name(name)


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_images_are_found_at_any_depth_in_sorted_order(tmp_path):
    for name in ["b.png", "a.jpg", "deep/er/c.png", "deep/a.png", ".hidden/x.png", "deep/.y.png", "notes.txt"]:
        touch(tmp_path / name)
    assert image_files(tmp_path) == ["a.jpg", "b.png", "deep/a.png", "deep/er/c.png"]


def test_link_loops_end_and_count_once(tmp_path):
    touch(tmp_path / "cat" / "a.png")
    (tmp_path / "cat" / "again").symlink_to(tmp_path / "cat", target_is_directory=True)
    (tmp_path / "cat" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert image_files(tmp_path / "cat") == ["a.png"]


def test_a_link_that_leads_back_is_named_and_gives_no_image_a_second_class(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(folders, "log", lambda: SimpleNamespace(warning=said.append))
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").touch()
    (tmp_path / "cat" / "up").symlink_to("..", target_is_directory=True)
    (tmp_path / "yak").symlink_to(tmp_path, target_is_directory=True)
    assert scan_classes(tmp_path) == {"cat": ["cat/a.png"], "dog": ["dog/a.png"]}
    assert f"{tmp_path}/cat/up is a link to {tmp_path}, in which it lies; it is not followed" in said
    assert f"{tmp_path}/yak is a link to {tmp_path}, in which it lies; it is not followed" in said


def test_links_between_classes_are_named_and_give_no_image_a_second_class(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(folders, "log", lambda: SimpleNamespace(warning=said.append))
    root, store = tmp_path / "set", tmp_path / "store"
    for place in (root / "cat" / "deep", root / "dog", store / "yak", store / "more"):
        touch(place / "a.png")
    for link, target in {
        root / "cat" / "dogs": "../dog",
        root / "dog" / "cats": "../cat/deep",
        root / "ape": "cat",
        root / "yak": "../store/yak",
        root / "dog" / "all": "../../store",
        root / "dog" / "more": "../../store/more",
        store / "more" / "back": "../../set/cat",
        root / "cat" / "own": "deep",
    }.items():
        link.symlink_to(target, target_is_directory=True)
    found = scan_classes(root)
    assert found == {"cat": ["cat/deep/a.png"], "dog": ["dog/a.png", "dog/more/a.png"], "yak": ["yak/a.png"]}
    assert len(said) == 5
    assert f"{root}/cat/dogs is a link to {root}/dog, where images of the class dog lie; it is not followed" in said
    assert f"{root}/ape is a link to {root}/cat, where images of the class cat lie; it is not followed" in said


def test_linked_folders_and_files_are_followed(tmp_path):
    touch(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "set" / "cat").mkdir(parents=True)
    (tmp_path / "set" / "dog").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "set" / "cat" / "b.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    assert scan_classes(tmp_path / "set") == {"cat": ["cat/b.png"], "dog": ["dog/a.png"]}


def test_empty_class_folders_are_kept_so_that_they_can_be_named(tmp_path):
    (tmp_path / "cat").mkdir()
    assert scan_classes(tmp_path, "train/") == {"cat": []}


def test_split_folders_go_by_several_names(tmp_path):
    for name in ["Train", "validation", "TEST", "other"]:
        (tmp_path / name).mkdir()
    assert split_folders(tmp_path) == {"train": "Train", "val": "validation", "test": "TEST"}


def test_two_folders_for_one_split_are_refused(tmp_path):
    for name in ["val", "valid"]:
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=r"both val/ and valid/"):
        split_folders(tmp_path)


def test_hidden_folders_are_no_classes(tmp_path):
    for name in [".ipynb_checkpoints", "cat"]:
        (tmp_path / name).mkdir()
    assert subfolders(tmp_path) == ["cat"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_a_user_error(tmp_path):
    (tmp_path / "cat").mkdir(mode=0)
    with pytest.raises(UserError, match="ermission"):
        image_files(tmp_path / "cat")


def test_a_link_to_itself_is_no_folder(tmp_path):
    touch(tmp_path / "cat" / "a.png")
    (tmp_path / "cat" / "loop").symlink_to(tmp_path / "cat" / "loop")
    (tmp_path / "cat" / "loop.png").symlink_to(tmp_path / "cat" / "loop.png")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert scan_classes(tmp_path) == {"cat": ["cat/a.png", "cat/loop.png"]}
