"""Files are whole or absent; folders are never overwritten."""

import csv
import errno
import os
import weakref
from pathlib import Path

import pytest
import torch

from utils import files
from utils.errors import UserError
from utils.files import move_file, new_folder, write_atomically, write_csv, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "old")

    def fail(place: Path) -> None:
        place.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="no space left on device"):
        write_atomically(file, fail)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_what_is_written_reaches_the_disk_before_it_takes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.txt"
    flush, seen = os.fsync, []

    def watched(number: int) -> None:
        seen.append((os.fstat(number).st_size, file.exists()))
        flush(number)

    monkeypatch.setattr(os, "fsync", watched)
    write_text(file, "whole")
    assert seen == [(5, False)]


def test_an_error_of_the_program_is_not_dressed_as_the_users(tmp_path: Path) -> None:
    def fail(_place: Path) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        write_atomically(tmp_path / "a", fail)


def test_a_folder_that_is_gone_is_named_when_torch_writes_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or directory"):
        write_atomically(tmp_path / "gone" / "a.pt", lambda place: torch.save({}, place))


def test_folders_are_numbered_not_overwritten(tmp_path: Path) -> None:
    assert [new_folder(tmp_path, "run").name for _ in range(3)] == ["run", "run-2", "run-3"]


def test_a_place_that_cannot_hold_folders_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--logdir"):
        new_folder(tmp_path / "file", "run")


def test_a_table_is_read_back_as_it_was(tmp_path: Path) -> None:
    rows = [["a", "größe, 1"], ['say "x"', ""]]
    write_csv(tmp_path / "a.csv", rows)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == rows


@pytest.mark.parametrize("links", [errno.EPERM, errno.EXDEV, None], ids=["no hard links", "another disk", "hard links"])
def test_a_file_is_moved_whole_and_nothing_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: int | None) -> None:
    def refuse(*_: object, **__: object) -> None:
        assert links is not None
        raise OSError(links, os.strerror(links))

    if links is not None:
        monkeypatch.setattr(files.os, "link", refuse)
    if links == errno.EXDEV:
        monkeypatch.setattr(files.os, "rename", refuse)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("a")
    os.utime(source, ns=(1_000_000_000, 1_000_000_000))
    move_file(source, target)
    assert not source.exists()
    assert (target.read_text(), target.stat().st_mtime_ns) == ("a", 1_000_000_000)
    source.write_text("new")
    with pytest.raises(FileExistsError):
        move_file(target, source)
    assert (source.read_text(), target.read_text()) == ("new", "a")
    assert sorted(tmp_path.iterdir()) == [source, target]


def test_a_link_is_moved_as_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("nowhere")
    move_file(tmp_path / "a", tmp_path / "b")
    assert os.readlink(tmp_path / "b") == "nowhere"
    assert not (tmp_path / "a").is_symlink()


def test_rows_that_are_made_one_by_one_are_written_one_by_one(tmp_path: Path) -> None:
    class Row(list):
        """A list that can be watched."""

    alive: weakref.WeakSet = weakref.WeakSet()
    most = 0

    def rows():
        nonlocal most
        for number in range(50):
            row = Row([number, "x"])
            alive.add(row)
            most = max(most, len(alive))
            yield row

    # Lists have no hash of their own.
    Row.__hash__ = object.__hash__  # pyright: ignore[reportAttributeAccessIssue]
    write_csv(tmp_path / "a.csv", rows())
    assert most <= 3
    assert (tmp_path / "a.csv").read_text().splitlines()[49] == "49,x"


def test_a_carriage_return_in_a_cell_survives(tmp_path: Path) -> None:
    rows = [["file", "why"], ["odd\rname.png", "x"]]
    write_csv(tmp_path / "a.csv", rows)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == rows
