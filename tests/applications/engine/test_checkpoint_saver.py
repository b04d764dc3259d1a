"""The checkpoint saver: which checkpoints are written, and when patience ends."""

from pathlib import Path

import pytest
import torch

from applications.engine.checkpoint_saver import CheckpointSaver
from applications.engine.top_epochs import TopEpochs
from applications.progress import Progress
from utils.checkpoint import load_checkpoint
from utils.errors import UserError


def saver(folder: Path, **changes: object) -> CheckpointSaver:
    settings = {"save_minutes": 10.0, "patience": 2, "writes": True, **changes}
    return CheckpointSaver(
        folder, lambda: {"arch": "x", "state_dict": {}, "state_dict_ema": None, "stepper": {"steps": 1}, "teaching": {}}, **settings
    )  # type: ignore[arg-type]


def test_the_best_follows_the_headline_and_a_tie_goes_to_the_lower_loss(tmp_path: Path) -> None:
    keep, progress = saver(tmp_path), Progress()
    best = []
    for headline, loss in ((0.5, 1.0), (0.7, 0.9), (0.7, 0.8), (0.6, 0.1), (0.7, 0.85)):
        keep.end_epoch(progress, (headline, -loss))
        best.append(load_checkpoint(tmp_path / "best.pt")["epoch"])
        assert load_checkpoint(tmp_path / "last.pt")["epoch"] == progress.epoch
    assert best == [1, 2, 3, 3, 3]
    assert progress.best == (0.7, -0.8)


def test_a_validation_that_is_no_number_is_never_the_best(tmp_path: Path) -> None:
    keep, progress = saver(tmp_path), Progress()
    keep.end_epoch(progress, (float("nan"), float("nan")))
    assert not (tmp_path / "best.pt").exists()
    assert (tmp_path / "last.pt").exists()


def test_patience_counts_epochs_without_a_better_one(tmp_path: Path) -> None:
    keep, progress = saver(tmp_path), Progress()
    exhausted = []
    for headline in (0.5, 0.4, 0.6, 0.6, 0.6):
        keep.end_epoch(progress, (headline, 0.0))
        exhausted.append(keep.is_exhausted(progress))
    assert exhausted == [False, False, False, False, True]


def test_only_the_writing_process_writes(tmp_path: Path) -> None:
    keep, progress = saver(tmp_path, writes=False, save_minutes=0.0), Progress()
    keep.end_epoch(progress, (1.0, 0.0))
    assert not keep.is_due()
    assert not list(tmp_path.iterdir())


def test_a_save_is_due_after_its_minutes(tmp_path: Path) -> None:
    assert saver(tmp_path, save_minutes=0.0).is_due()
    assert not saver(tmp_path, save_minutes=10.0).is_due()


def test_the_best_holds_weights_alone_and_the_last_the_rest(tmp_path: Path) -> None:
    content = {
        "arch": "x",
        "state_dict": {"a": torch.zeros(3)},
        "state_dict_ema": {"a": torch.ones(3)},
        "stepper": {"steps": 1},
        "teaching": {},
    }
    keep = CheckpointSaver(tmp_path, lambda: content, save_minutes=10.0, patience=None, writes=True)
    keep.end_epoch(Progress(), (0.5, -1.0))
    best, last = load_checkpoint(tmp_path / "best.pt"), load_checkpoint(tmp_path / "last.pt")
    assert (best["stepper"], best["teaching"]) == (None, None)
    assert best["state_dict"]["a"].tolist() == best["state_dict_ema"]["a"].tolist() == [1, 1, 1]
    assert last["stepper"] == {"steps": 1}
    assert last["state_dict"]["a"].tolist() == [0, 0, 0]


def test_a_disk_that_is_full_at_the_second_file_leaves_both_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep, progress = saver(tmp_path), Progress()
    keep.end_epoch(progress, (0.5, -1.0))
    write = torch.save

    def full(content: dict, place: Path) -> None:
        if "best" in place.name:
            raise OSError(28, "No space left on device")
        write(content, place)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match="cannot write"):
        keep.end_epoch(progress, (0.6, -1.0))
    assert [load_checkpoint(tmp_path / name)["epoch"] for name in ("best.pt", "last.pt")] == [1, 1]


def test_every_few_epochs_a_checkpoint_stays_and_so_do_the_best(tmp_path: Path) -> None:
    kept = TopEpochs(tmp_path, 2, prefix="best-epoch", index="best-epochs.json")
    keep, progress = saver(tmp_path, save_every=2, kept=kept), Progress()
    for headline in (0.5, 0.9, 0.6, 0.7, 0.1):
        keep.end_epoch(progress, (headline, 0.0))
    assert sorted(file.name for file in tmp_path.glob("*epoch-*.pt")) == [
        "best-epoch-0002.pt",
        "best-epoch-0004.pt",
        "epoch-0002.pt",
        "epoch-0004.pt",
    ]
    assert load_checkpoint(tmp_path / "epoch-0002.pt")["stepper"] == {"steps": 1}
    assert load_checkpoint(tmp_path / "best-epoch-0004.pt")["epoch"] == 4
    assert load_checkpoint(tmp_path / "best-epoch-0004.pt")["stepper"] is None
