"""Checkpoints: whole files of plain values, and nothing else is read."""

import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from utils import checkpoint
from utils.checkpoint import BEST, LAST, check_space, find_checkpoint, load_checkpoint, load_tensors, save_checkpoint
from utils.errors import UserError

CONTENT = {"arch": "x", "state_dict": {"a": torch.arange(3)}, "epoch": 2}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / LAST, CONTENT, also=tmp_path / BEST)
    for name in (LAST, BEST):
        loaded = load_checkpoint(tmp_path / name)
        assert loaded["epoch"] == 2
        assert torch.equal(loaded["state_dict"]["a"], torch.arange(3))
    assert sorted(file.name for file in tmp_path.iterdir()) == [BEST, LAST]


def test_the_best_stays_when_the_last_moves_on(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / LAST, CONTENT, also=tmp_path / BEST)
    save_checkpoint(tmp_path / LAST, {**CONTENT, "epoch": 3})
    assert load_checkpoint(tmp_path / BEST)["epoch"] == 2
    assert load_checkpoint(tmp_path / LAST)["epoch"] == 3


class Bomb:
    def __reduce__(self) -> tuple:
        return (print, ("executed",))


def test_a_pickle_that_executes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "evil.pt"
    torch.save({"format": 1, "arch": Bomb()}, file)
    with pytest.raises(UserError, match="was not loaded"):
        load_checkpoint(file)
    bare = tmp_path / "evil.pkl"
    bare.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match=r"evil\.pkl"):
        load_tensors(bare)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 broken"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.pt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.pt"):
        load_checkpoint(file)


def test_bare_weights_and_later_formats_are_told_apart(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "bare.pt")
    with pytest.raises(UserError, match="--init_from"):
        load_checkpoint(tmp_path / "bare.pt")
    torch.save({"format": 99, "arch": "x"}, tmp_path / "later.pt")
    with pytest.raises(UserError, match="later Darkroom"):
        load_checkpoint(tmp_path / "later.pt")


def test_a_run_folder_means_the_preferred_file(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / LAST, CONTENT)
    assert find_checkpoint(str(tmp_path), BEST).name == LAST
    save_checkpoint(tmp_path / LAST, CONTENT, also=tmp_path / BEST)
    assert find_checkpoint(str(tmp_path), BEST).name == BEST
    for place in (tmp_path / "none", tmp_path.parent):
        with pytest.raises(UserError, match="--resume"):
            find_checkpoint(str(place), LAST)


def test_a_disk_without_room_for_the_first_checkpoint_is_an_error_and_little_room_a_warning(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(checkpoint, "log", lambda: SimpleNamespace(warning=told.append))
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda _: SimpleNamespace(free=5_000_000))
    place = tmp_path / "not" / "there"
    check_space(place, 1_000_000, 4_000_000)
    assert told == []
    check_space(place, 1_000_000, 6_000_000)
    (said,) = told
    assert said == f"{tmp_path} has 5 MB free, the checkpoints of this run need up to 6 MB at a time; a full disk ends it"
    with pytest.raises(UserError, match=r"5 MB free, the first checkpoint needs about 6 MB; free some space or choose another --logdir"):
        check_space(place, 6_000_000, 18_000_000)


def test_a_folder_of_runs_names_the_newest_of_them(tmp_path):
    for number, name in enumerate(("old", "new")):
        (tmp_path / "classify" / name).mkdir(parents=True)
        (tmp_path / "classify" / name / "last.pt").touch()
        os.utime(tmp_path / "classify" / name / "last.pt", (number, number))
    for place in (tmp_path, tmp_path / "classify"):
        with pytest.raises(UserError, match=rf"neither last.pt nor best.pt; the newest run in it is {tmp_path}/classify/new$"):
            find_checkpoint(str(place), "last.pt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"neither last.pt nor best.pt$"):
        find_checkpoint(str(tmp_path / "empty"), "last.pt")
