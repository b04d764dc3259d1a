"""The keeper: which checkpoints are written, and when patience ends."""

from pathlib import Path

from applications.contract import Progress
from applications.engine.keeper import Keeper
from utils.checkpoint import load_checkpoint


def keeper(folder: Path, **changes: object) -> Keeper:
    settings = {"save_minutes": 10.0, "patience": 2, "writes": True, **changes}
    return Keeper(folder, lambda: {"arch": "x"}, **settings)  # type: ignore[arg-type]


def test_the_best_follows_the_headline_and_a_tie_goes_to_the_lower_loss(tmp_path: Path) -> None:
    keep, progress = keeper(tmp_path), Progress()
    best = []
    for headline, loss in ((0.5, 1.0), (0.7, 0.9), (0.7, 0.8), (0.6, 0.1), (0.7, 0.85)):
        keep.end_epoch(progress, (headline, -loss))
        best.append(load_checkpoint(tmp_path / "best.pt")["epoch"])
        assert load_checkpoint(tmp_path / "last.pt")["epoch"] == progress.epoch
    assert best == [1, 2, 3, 3, 3]
    assert progress.best == (0.7, -0.8)


def test_a_validation_that_is_no_number_is_never_the_best(tmp_path: Path) -> None:
    keep, progress = keeper(tmp_path), Progress()
    keep.end_epoch(progress, (float("nan"), float("nan")))
    assert not (tmp_path / "best.pt").exists()
    assert (tmp_path / "last.pt").exists()


def test_patience_counts_epochs_without_a_better_one(tmp_path: Path) -> None:
    keep, progress = keeper(tmp_path), Progress()
    exhausted = []
    for headline in (0.5, 0.4, 0.6, 0.6, 0.6):
        keep.end_epoch(progress, (headline, 0.0))
        exhausted.append(keep.is_exhausted(progress))
    assert exhausted == [False, False, False, False, True]


def test_only_the_writing_process_writes(tmp_path: Path) -> None:
    keep, progress = keeper(tmp_path, writes=False, save_minutes=0.0), Progress()
    keep.end_epoch(progress, (1.0, 0.0))
    assert not keep.is_due()
    assert not list(tmp_path.iterdir())


def test_a_save_is_due_after_its_minutes(tmp_path: Path) -> None:
    assert keeper(tmp_path, save_minutes=0.0).is_due()
    assert not keeper(tmp_path, save_minutes=10.0).is_due()
