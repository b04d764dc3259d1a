"""How far a run goes: a number of epochs, unless a subclass answers otherwise while it runs."""

from typing import Any

from applications.progress import Progress


class RunLength:
    """A fixed number of epochs of all their batches."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    @property
    def epochs(self) -> int:
        """Epochs of the run, as far as is known now."""
        return self._epochs

    def begin_epoch(self, progress: Progress) -> None:
        """An epoch begins, or goes on after a resume."""

    def look(self, progress: Progress) -> None:
        """The weights have changed: the moment at which the length may change."""

    def batches(self, epoch: int, whole: int) -> int:
        """Return how many batches of an epoch, of `whole`, are trained on."""
        del epoch
        return whole

    def fewest(self, batch: int, held: int, whole: int) -> int:
        """Return after how many batches an epoch that goes on at `batch` may end, of which the last `held` are needed again."""
        del batch, held
        return whole

    def planned_epoch(self, epoch: int) -> int:
        """Return the epoch of the plan whose image size an epoch has."""
        return epoch

    def done(self, progress: Progress) -> float:
        """Return the share of the run that was done when the present epoch of the plan began."""
        return min(1.0, progress.epoch / self.epochs)

    def schedule_position(self, step: int) -> float:
        """Return the step of the plan whose learning rate the run has after so many optimizer steps."""
        return step

    def state_dict(self) -> dict[str, Any] | None:
        """Return plain values from which a resumed run goes on; None where there is nothing to know."""
        return None
