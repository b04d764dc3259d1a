"""Keeps checkpoints: the last, the best, one every few minutes; and knows when patience ends."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from applications.contract import Progress, Sums
from applications.engine.top import TopEpochs
from utils.checkpoint import BEST, LAST, save_checkpoint


class Keeper:
    """Writes checkpoints of a run.

    Args:
        folder: run folder.
        snapshot: returns everything the checkpoint holds besides the progress.
        save_minutes: time between checkpoints inside an epoch.
        patience: epochs without a better validation after which the run ends; None never.
        writes: whether this process writes; the others only keep count.
        top: keeps the weights of the best epochs too; None keeps none.
    """

    def __init__(
        self,
        folder: Path,
        snapshot: Callable[[], dict[str, Any]],
        *,
        save_minutes: float,
        patience: int | None,
        writes: bool,
        top: TopEpochs | None = None,
    ) -> None:
        self.folder = folder
        self.snapshot = snapshot
        self.save_seconds = save_minutes * 60
        self.patience = patience
        self.writes = writes
        self.top = top
        self._saved_at = time.monotonic()

    def is_due(self) -> bool:
        """Whether the time between two checkpoints has passed."""
        return self.writes and time.monotonic() - self._saved_at >= self.save_seconds

    def save(self, progress: Progress, of_all: Sums | None = None, *, is_best: bool = False) -> None:
        """Write the last checkpoint, and the best one with the same content if it is.

        Args:
            progress: where the run stands.
            of_all: sums of the epoch under way over all processes, where there are several.
            is_best: whether the best checkpoint gets this content too.
        """
        if self.writes:
            content = {**self.snapshot(), "epoch": progress.epoch, "progress": progress.state_dict(of_all)}
            save_checkpoint(self.folder / LAST, content, also=self.folder / BEST if is_best else None)
        self._saved_at = time.monotonic()

    def end_epoch(self, progress: Progress, reached: tuple[float, float]) -> None:
        """Count a finished epoch whose validation reached (headline, -loss), higher is better, and save."""
        progress.next_epoch()
        is_best = reached > progress.best
        if is_best:
            progress.best, progress.best_epoch = reached, progress.epoch
        if self.top is not None and self.writes:
            content = self.snapshot()
            self.top.offer(progress.epoch, reached, content["state_dict_ema"] or content["state_dict"])
        self.save(progress, is_best=is_best)

    def save_average(self, name: str, changes: Mapping[str, Any], progress: Progress, reached: tuple[float, float]) -> bool:
        """Write NAME.pt, a checkpoint with `changes`: averaged weights and what belongs to them; and the best if it is; return whether."""
        is_best = reached > progress.best
        if is_best:
            progress.best, progress.best_epoch = reached, progress.epoch
        if self.writes:
            content = {**self.snapshot(), "epoch": progress.epoch, "progress": progress.state_dict()}
            content |= changes
            save_checkpoint(self.folder / f"{name}.pt", content, also=self.folder / BEST if is_best else None)
        self.save(progress)
        return is_best

    def is_exhausted(self, progress: Progress) -> bool:
        """Whether validation has not improved for `patience` epochs."""
        return self.patience is not None and progress.epoch - progress.best_epoch >= self.patience
