"""How a written file is asked and timed in a process of its own."""

import errno
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from applications.export import measure, probe
from applications.export.other_size import MOST
from applications.export.probe import MET, NOT_WRITTEN, Job, Together, _answer, ask, first_answer, time_alone
from applications.formats.facts import Facts
from applications.formats.format import Opened
from dataloader.images.preprocess import Preprocess
from utils.errors import UserError


class Images:
    """A split whose images grow."""

    def __len__(self) -> int:
        return 2 * MET

    def read(self, index: int) -> np.ndarray:
        return np.zeros((4 + index, 5, 3), dtype=np.uint8)


def test_one_image_is_timed_once_a_runtime_has_met_the_sizes_of_several() -> None:
    asked: list[tuple[int, ...]] = []
    opened = Opened(Facts("a", "classify", ("x", "y"), Preprocess((4, 4)), "softmax"), lambda images: asked.append(images.shape) or [])
    images: Any = Images()
    assert first_answer(opened, images) > 0
    assert asked == [(1, 3, 4, 5)]
    assert time_alone(opened, images, 0.0).runs > 0
    assert asked[1 : 1 + MET] == [(1, 3, 4 + index, 5) for index in range(MET)]
    assert set(asked[1 + MET :]) == {(1, 3, 4, 5)}


class Alike:
    """A split of images of one size."""

    def __len__(self) -> int:
        return 12

    def read(self, index: int) -> np.ndarray:
        del index
        return np.zeros((8, 5, 3), np.uint8)


class Recorder:
    """A format whose file notes the sizes of the images that it is asked about."""

    def __init__(self, *, any_size: bool) -> None:
        self.facts = Facts("a", "classify", ("x", "y"), Preprocess((4, 4)), "softmax", any_size=any_size)
        self.heights: list[int] = []

    def open(self, path: Path, *, threads: int) -> Opened:
        del path, threads
        return Opened(self.facts, self.run)

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        if len(images) == 1:
            self.heights.append(images.shape[2])
        return [np.zeros((len(images), 2), np.float32)]


@pytest.mark.parametrize(("any_size", "asked"), [(True, [8] * 6 + [10] * MOST + [8] * 6), (False, [4] * 12)])
def test_a_file_for_any_size_is_asked_about_another_one_halfway(any_size: bool, asked: list[int]) -> None:
    found: Any = Recorder(any_size=any_size)
    split: Any = Alike()
    told = _answer(found, Job("fake", Path(), split, 4, 1))
    assert found.heights[-len(asked) :] == asked
    assert ("taller" in told) == any_size
    assert len(told["single"]) == len(told["batched"]) == 12


def test_pixels_that_wait_are_counted_to_the_byte() -> None:
    found: Any = Recorder(any_size=True)
    together = Together(found.open(Path(), threads=1), 3)
    for index in range(7):
        together.add(index, np.zeros((3, 8, 5 + index % 2), np.uint8))
        assert together.waiting_bytes == sum(pixels.nbytes for group in together._waiting.values() for _, pixels in group)
    assert len(together.finish()) == 7
    assert together.waiting_bytes == 0


def test_a_full_disk_is_told_and_not_laid_to_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "START", f"import sys; print('no space left on device', file=sys.stderr); sys.exit({NOT_WRITTEN})")
    split: Any = Alike()
    with pytest.raises(UserError, match=r"for a moment: no space left on device; .*TMPDIR$") as refused:
        ask(Job("fake", Path(), split, 4, 1))
    assert tempfile.gettempdir() in str(refused.value)


def test_answers_without_room_end_the_process_with_a_code_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    split: Any = Alike()
    (tmp_path / "job.pickle").write_bytes(pickle.dumps(Job("fake", Path(), split, 4, torch.get_num_threads())))
    monkeypatch.setattr(probe, "build_format", lambda _: Recorder(any_size=True))
    monkeypatch.setattr(np, "savez", fail)
    assert probe.main(str(tmp_path / "job.pickle"), str(tmp_path / "answers.npz")) == NOT_WRITTEN
    assert capsys.readouterr().err.splitlines()[-1] == "no space left on device"


class WatchedError(Exception):
    """The machine is watched."""


@pytest.mark.parametrize("asker", [probe, measure])
def test_the_process_that_asks_a_file_watches_the_machine(asker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def watch() -> None:
        raise WatchedError

    split: Any = Alike()
    (tmp_path / "job.pickle").write_bytes(pickle.dumps(Job("fake", Path(), split, 4, torch.get_num_threads())))
    monkeypatch.setattr(asker, "sleep_when_busy", watch)
    with pytest.raises(WatchedError):
        asker.main(str(tmp_path / "job.pickle"), str(tmp_path / "answers.npz"))
