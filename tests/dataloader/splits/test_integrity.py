"""Files that are in two splits, and files that change after they were found, are named."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dataloader.opening.open_catalog import open_catalog
from dataloader.splits import integrity
from dataloader.splits.integrity import CachedFiles, find_leaks, fingerprint, has_changed, stamp


@pytest.fixture
def data(tmp_path: Path, write_images) -> Path:
    return write_images(tmp_path / "data", {"train/a": 3, "train/b": 3, "val/a": 2, "val/b": 2, "test/a": 2, "test/b": 2})


def test_equal_files_in_two_splits_are_found(data: Path) -> None:
    (data / "val/b/x.png").write_bytes((data / "train/a/001.png").read_bytes())
    (data / "test/a/y.png").write_bytes((data / "val/a/000.png").read_bytes())
    # A copy within a split, or of one size only, is no leak.
    (data / "train/a/z.png").write_bytes((data / "train/a/002.png").read_bytes())
    (data / "val/a/w.png").write_bytes(b"x" * (data / "train/a/000.png").stat().st_size)
    found = {
        (Path(leak.earlier).relative_to(data).as_posix(), Path(leak.later).relative_to(data).as_posix())
        for leak in find_leaks(open_catalog(str(data)))
    }
    assert found == {("train/a/001.png", "val/b/x.png"), ("val/a/000.png", "test/a/y.png")}


def test_large_files_that_share_their_middle_are_told_apart(data: Path) -> None:
    (data / "train/a/big.png").write_bytes(b"a" + bytes(20_000))
    (data / "val/a/big.png").write_bytes(b"b" + bytes(20_000))
    assert find_leaks(open_catalog(str(data))) == []
    (data / "val/a/big.png").write_bytes(b"a" + bytes(20_000))
    assert len(find_leaks(open_catalog(str(data)))) == 1


def test_only_files_of_one_size_are_opened(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = integrity._digest
    monkeypatch.setattr(integrity, "_digest", lambda file, size, whole: opened.append(file) or real(file, size, whole=whole))
    for number, path in enumerate(sorted(data.rglob("*.png"))):
        path.write_bytes(bytes(1000 + number))
    assert find_leaks(open_catalog(str(data))) == []
    assert opened == []


def test_a_replaced_file_changes_the_fingerprint_and_a_copy_of_the_data_does_not(data: Path, tmp_path: Path) -> None:
    def print_of(root: Path) -> str:
        return fingerprint(stamp(open_catalog(str(root)).splits["train"]))

    before = print_of(data)
    shutil.copytree(data, tmp_path / "copy", copy_function=shutil.copyfile)
    assert print_of(tmp_path / "copy") == before
    (data / "train/a/001.png").write_bytes(b"another picture")
    assert print_of(data) != before


def test_a_changed_file_is_noticed_and_a_vanished_one_is_left_to_the_reader(make_split) -> None:
    split = make_split(4)
    assert not has_changed(split, 0), "nobody asked"
    split = stamp(split)
    assert split.stamps.dtype == np.int64
    file = Path(split.file(1))
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    Path(split.file(2)).unlink()
    assert [has_changed(split, index) for index in range(4)] == [False, True, False, False]


def test_cached_files_that_change_or_vanish_are_told_once_in_one_line(make_split, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(integrity, "log", lambda: SimpleNamespace(warning=told.append))
    CachedFiles(make_split(4)).look()
    split = stamp(make_split(4))
    files = CachedFiles(split)
    files.look()
    assert told == []
    os.utime(split.file(1), ns=(0, 1))
    Path(split.file(2)).unlink()
    files.look()
    files.look()
    assert told == [f"2 train images changed or vanished on disk, such as {split.file(1)}; the run goes on with the cached pixels"]
    Path(split.file(3)).unlink()
    files.look()
    assert told[1:] == [f"1 train image changed or vanished on disk, such as {split.file(3)}; the run goes on with the cached pixels"]
