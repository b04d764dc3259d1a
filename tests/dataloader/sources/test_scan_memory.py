"""Large folders are looked through again only where something changed."""

import os

import pytest

from dataloader.sources import scan_memory
from dataloader.sources.folders import scan_classes


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(scan_memory.ScanMemory.__init__, "__kwdefaults__", {"least": 3})


@pytest.fixture
def folder(tmp_path):
    for name in ("cat/a.png", "cat/deep/b.png", "dog/c.png"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    settle(tmp_path / "set")
    return tmp_path / "set"


def settle(root):
    """Give every folder a modification time of long ago, each its own."""
    for number, (place, _, _) in enumerate(os.walk(root)):
        os.utime(place, (0, number))


FOUND = {"cat": ["cat/a.png", "cat/deep/b.png"], "dog": ["dog/c.png"]}


def looked_at(monkeypatch, folder):
    """Return the result of a scan, and the folders below the classes' that were opened for it."""
    opened = []
    real = os.scandir
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", lambda place: opened.append(os.path.relpath(place, folder)) or real(place))
        found = scan_classes(folder)
    return found, sorted(set(opened) - {"."})


def test_a_second_scan_opens_no_folder_that_is_as_it_was(folder, monkeypatch):
    assert looked_at(monkeypatch, folder) == (FOUND, ["cat", "cat/deep", "dog"])
    assert looked_at(monkeypatch, folder) == (FOUND, [])


def test_new_and_lost_images_are_noticed(folder):
    scan_classes(folder)
    (folder / "cat" / "deep" / "new.png").touch()
    (folder / "dog" / "c.png").unlink()
    assert scan_classes(folder) == {"cat": ["cat/a.png", "cat/deep/b.png", "cat/deep/new.png"], "dog": []}


def test_a_folder_that_changed_a_moment_ago_is_looked_at_again(folder):
    (folder / "dog" / "d.png").touch()
    scan_classes(folder)
    status = (folder / "dog").stat()
    (folder / "dog" / "e.png").touch()
    os.utime(folder / "dog", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert scan_classes(folder)["dog"] == ["dog/c.png", "dog/d.png", "dog/e.png"]


def test_folders_with_links_are_looked_at_again(folder, tmp_path):
    (tmp_path / "other").touch()
    (folder / "dog" / "link").symlink_to(tmp_path / "other")
    settle(folder)
    assert scan_classes(folder) == FOUND
    (tmp_path / "other").unlink()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.png").touch()
    assert scan_classes(folder)["dog"] == ["dog/c.png", "dog/link/x.png"]


def test_small_folders_leave_no_trace(folder, tmp_path):
    (folder / "dog" / "c.png").unlink()
    settle(folder)
    scan_classes(folder)
    assert not (tmp_path / "cache").exists()
