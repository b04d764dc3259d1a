"""The position of a run, and who watches it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from applications.contract import Meter, StepResult
from dataloader.sample import Batch

# (sums over an epoch by name, number of samples)
Sums = tuple[dict[str, float], int]


@dataclass
class Progress:
    """The position of a run. It is saved in the checkpoint and restored from it.

    Attributes:
        epoch: finished epochs.
        batch: batches done in the current epoch.
        step: batches done in the whole run.
        samples: samples of this process in the current epoch.
        sums: StepResult.sums of this process, added up over the current epoch.
        best: best validation so far, as (headline, -loss): a tie goes to the lower loss.
        best_epoch: the epoch that reached it.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    samples: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    best: tuple[float, float] = (float("-inf"), float("-inf"))
    best_epoch: int = 0

    def advance(self, batch: Batch, result: StepResult) -> None:
        """Count one batch. Nothing is read from the device."""
        self.batch += 1
        self.step += 1
        self.samples += len(batch)
        for name, value in result.sums.items():
            self.sums[name] = self.sums[name] + value.double() if name in self.sums else value.double()

    def means(self) -> dict[str, float]:
        """Return the mean of every sum over the epoch so far. Waits for the device."""
        return {name: float(value) / max(1, self.samples) for name, value in self.sums.items()}

    def next_epoch(self) -> None:
        """Begin the following epoch."""
        self.epoch += 1
        self.batch = self.samples = 0
        self.sums = {}

    def state_dict(self, of_all: Sums | None = None) -> dict[str, Any]:
        """Return plain values; `of_all` gives the sums over all processes in place of this one's."""
        sums, samples = of_all or ({name: float(value) for name, value in self.sums.items()}, self.samples)
        return {**vars(self), "sums": sums, "samples": samples}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device, *, is_first: bool = True) -> None:
        """Continue from what `state_dict` returned; the first process goes on with the sums of all."""
        vars(self).update(state)
        sums = state["sums"] if is_first else {}
        self.sums = {name: torch.tensor(value, dtype=torch.float64, device=device) for name, value in sums.items()}
        self.samples = state["samples"] if is_first else 0


class Observer:
    """Watches a run. It reads, and changes nothing; a subclass overrides the events that it needs."""

    def length(self, epochs: int) -> None:
        """The run has so many epochs, as far as is known now; called before an epoch begins and before it is told."""

    def begin(self, progress: Progress, batches: int) -> None:
        """An epoch of `batches` batches begins, or goes on after a resume."""

    def step(self, progress: Progress) -> None:
        """A batch was done. Cheap: nothing is read from the device."""

    def validated(self, meter: Meter) -> None:
        """The validation images were measured."""

    def report(self, progress: Progress, means: Mapping[str, float]) -> None:
        """The running means were read, every print interval."""

    def epoch(self, progress: Progress, row: Mapping[str, float]) -> None:
        """An epoch ended with these metrics; those that were not measured are nan."""

    def close(self) -> None:
        """The run ended or stops."""
