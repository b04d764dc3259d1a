"""Moving files away and back loses none and overwrites none."""

import os
from pathlib import Path

import pytest

from dataloader.checks import quarantine as module
from dataloader.checks.quarantine import Move, quarantine, restore
from utils.errors import UserError

NAMES = ("train/a/1.jpg", "train/a/ü 2.jpg", "../beside.jpg")


@pytest.fixture
def moves(tmp_path: Path) -> list[Move]:
    """Write files in and beside tmp_path/data and return their moves."""
    found = []
    for name in NAMES:
        file = tmp_path / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
        found.append(Move(name, file, "a test"))
    (tmp_path / "data/train/a/link.jpg").symlink_to("1.jpg")
    return [*found, Move("train/a/link.jpg", tmp_path / "data/train/a/link.jpg", "a test")]


def contents(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): str(path.readlink()) if path.is_symlink() else path.read_text()
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_what_was_moved_comes_back(tmp_path: Path, moves: list[Move]) -> None:
    before = contents(tmp_path)
    log = quarantine(moves, tmp_path / "data", "one")
    assert log == tmp_path / "data.quarantine/one/moved.csv"
    assert set(contents(tmp_path)) == {
        f"data.quarantine/one/{name}" for name in ("moved.csv", *NAMES[:2], "__/beside.jpg", "train/a/link.jpg")
    }
    assert restore(log) == (4, [])
    assert contents(tmp_path) == before
    assert not (tmp_path / "data.quarantine").exists()


def test_a_file_that_took_the_old_place_is_not_overwritten(tmp_path: Path, moves: list[Move]) -> None:
    log = quarantine(moves, tmp_path / "data", "one")
    (tmp_path / NAMES[0].replace("train", "data/train", 1)).write_text("new")
    back, kept = restore(log)
    assert (back, len(kept)) == (3, 1)
    assert "there is a new" in kept[0]
    assert (tmp_path / "data/train/a/1.jpg").read_text() == "new"
    assert (tmp_path / "data.quarantine/one/train/a/1.jpg").read_text() == NAMES[0]
    # Once there is room it comes back, too; what is back already is left alone.
    (tmp_path / "data/train/a/1.jpg").unlink()
    assert restore(log) == (1, [])


def test_a_move_that_stops_half_way_can_be_undone(tmp_path: Path, moves: list[Move], monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(tmp_path)
    real = module.move_file

    def fail_at_the_second(source: Path, target: Path) -> None:
        if source.name == "ü 2.jpg":
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(module, "move_file", fail_at_the_second)
    with pytest.raises(UserError, match="--undo"):
        quarantine(moves, tmp_path / "data", "one")
    monkeypatch.undo()
    assert restore(tmp_path / "data.quarantine/one/moved.csv") == (1, [])
    assert contents(tmp_path) == before


def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    for text, words in (("a,b\n", "not a log"), ("file,moved_to,reason\nx\n", "line 2")):
        (tmp_path / "log.csv").write_text(text)
        with pytest.raises(UserError, match=words):
            restore(tmp_path / "log.csv")
    with pytest.raises(UserError, match="No such file"):
        restore(tmp_path / "none.csv")


def test_a_move_that_was_killed_half_way_comes_back(tmp_path):
    source = tmp_path / "data" / "a.png"
    source.parent.mkdir()
    source.write_bytes(b"picture")
    log = quarantine([Move("a.png", source, "why")], tmp_path / "data", "one")
    # As if the process had died before it took the first name away.
    os.link(log.parent / "a.png", source)
    assert restore(log) == (1, [])
    assert source.read_bytes() == b"picture"
