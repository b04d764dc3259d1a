"""Keeps checkpoints: the last, the best, one every few minutes or epochs; and says when patience is exhausted."""

import copy
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from applications.engine.top_epochs import TopEpochs
from applications.progress import Progress, Sums
from utils.checkpoint import BEST, FORMAT, LAST, link_or_copy, save_checkpoint
from utils.files import write_atomically


def weights_alone(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a checkpoint to use: the weights that were measured, and what describes them, without the state of the run."""
    averages = content["state_dict_ema"]
    # A copy keeps the `_metadata` attribute of the state dict, from which some networks read its version.
    weights = copy.copy(content["state_dict"])
    weights.update(averages or {})
    return {**content, "state_dict": weights, "stepper": None, "teaching": None}


class CheckpointSaver:
    """Writes checkpoints of a run: last.pt to resume from, best.pt to use.

    Args:
        folder: run folder.
        snapshot: returns everything the checkpoint holds besides the progress.
        save_minutes: time between checkpoints inside an epoch.
        patience: epochs without a better validation after which the run ends; None never.
        writes: whether this process writes; the others only keep count.
        top: keeps the weights of the best epochs too; None keeps none.
        kept: keeps checkpoints of the best epochs too, to use; None keeps none.
        save_every: epochs after which a checkpoint to resume from is kept for good; None keeps none.
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
        kept: TopEpochs | None = None,
        save_every: int | None = None,
    ) -> None:
        self.folder = folder
        self.snapshot = snapshot
        self.save_seconds = save_minutes * 60
        self.patience = patience
        self.writes = writes
        self.top = top
        self.kept = kept
        self.save_every = save_every
        self._saved_at = time.monotonic()

    def is_due(self) -> bool:
        """Whether the time between two checkpoints has passed."""
        return self.writes and time.monotonic() - self._saved_at >= self.save_seconds

    def save(self, progress: Progress, of_all: Sums | None = None, *, is_best: bool = False) -> None:
        """Write last.pt; with `is_best`, best.pt, too.

        Args:
            progress: the position of the run.
            of_all: sums of the current epoch over all processes, where there are several.
            is_best: whether these weights are the best.
        """
        if self.writes:
            content = {**self.snapshot(), "epoch": progress.epoch, "progress": progress.state_dict(of_all)}
            best = weights_alone(content) if is_best else None
            save_checkpoint(self.folder / LAST, content, also=self.folder / BEST if is_best else None, of_also=best)
        self._saved_at = time.monotonic()

    def end_epoch(self, progress: Progress, reached: tuple[float, float]) -> None:
        """Count a finished epoch whose validation reached (headline, -loss), higher is better, and save."""
        progress.next_epoch()
        is_best = reached > progress.best
        if is_best:
            progress.best, progress.best_epoch = reached, progress.epoch
        if self.writes:
            self._offer(progress, reached)
        self.save(progress, is_best=is_best)
        if self.writes and self.save_every is not None and progress.epoch % self.save_every == 0:
            write_atomically(self.folder / f"epoch-{progress.epoch:04d}.pt", lambda place: link_or_copy(self.folder / LAST, place))

    def _offer(self, progress: Progress, reached: tuple[float, float]) -> None:
        """Offer the weights of the epoch to `top` and `kept`, which keep the best."""
        if self.top is not None:
            content = self.snapshot()
            self.top.offer(progress.epoch, reached, content["state_dict_ema"] or content["state_dict"])
        if self.kept is not None:
            content = {**self.snapshot(), "epoch": progress.epoch, "progress": progress.state_dict()}
            self.kept.offer(progress.epoch, reached, {"format": FORMAT, **weights_alone(content)})

    def save_average(self, name: str, changes: Mapping[str, Any], progress: Progress, reached: tuple[float, float]) -> bool:
        """Write NAME.pt, a checkpoint with `changes` (averaged weights and what belongs to them); return whether it is the new best.pt."""
        is_best = reached > progress.best
        if is_best:
            progress.best, progress.best_epoch = reached, progress.epoch
        if self.writes:
            content = {**self.snapshot(), "epoch": progress.epoch, "progress": progress.state_dict()}
            content = weights_alone({**content, **changes})
            save_checkpoint(self.folder / f"{name}.pt", content, also=self.folder / BEST if is_best else None)
        self.save(progress)
        return is_best

    def is_exhausted(self, progress: Progress) -> bool:
        """Whether validation has not improved for `patience` epochs."""
        return self.patience is not None and progress.epoch - progress.best_epoch >= self.patience
