"""The contracts between tasks and engines: what a batch means, how it is walked, who watches."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from criterions.weighted import Criterion
from dataloader.sample import Batch


@dataclass(frozen=True)
class StepResult:
    """What one training step answers: the loss to descend, and sums for the report.

    Attributes:
        loss: scalar with gradient, the mean over the samples of the batch.
        sums: name -> scalar summed over the samples, detached, on the device.
    """

    loss: Tensor
    sums: Mapping[str, Tensor]


@dataclass(frozen=True)
class Prediction:
    """What a model says of some samples, on the CPU, one row a sample.

    Attributes:
        indices: (N,) positions in the split.
        targets: (N,) class indices, or (N, C) with a one for every label of the image.
        probabilities: (N, C), softmax or sigmoid as trained, of logits / temperature.
        losses: (N,) plain loss of each sample at temperature 1, without any weighting.
        logits: (N, C) float32, as the network gave them.
    """

    indices: Tensor
    targets: Tensor
    probabilities: Tensor
    losses: Tensor
    logits: Tensor

    @staticmethod
    def concatenate(parts: Sequence["Prediction"]) -> "Prediction":
        """Join predictions and order them by index."""
        indices = torch.cat([part.indices for part in parts])
        order = indices.argsort()
        return Prediction(
            indices[order],
            torch.cat([part.targets for part in parts])[order],
            torch.cat([part.probabilities for part in parts])[order],
            torch.cat([part.losses for part in parts])[order],
            torch.cat([part.logits for part in parts])[order],
        )


def decide(probabilities: Tensor, thresholds: Sequence[float] | None) -> Tensor:
    """Return what the answers name, bool (N, C): every class that reaches its threshold, or the most probable one.

    Args:
        probabilities: (N, C).
        thresholds: one a class; None where exactly one class is right.
    """
    if thresholds is None:
        return torch.nn.functional.one_hot(probabilities.argmax(1), probabilities.shape[1]).bool()
    return probabilities >= torch.tensor(thresholds, dtype=torch.float64, device=probabilities.device)


def at_temperature(prediction: Prediction, temperature: float, criterion: Criterion) -> Prediction:
    """Return the prediction with the probabilities of logits / temperature; what is not a number counts as 0."""
    return replace(prediction, probabilities=criterion.probabilities(prediction.logits / temperature).nan_to_num(0.0))


class Task(Protocol):
    """What a batch means. It never sees optimizers, processes or checkpoints."""

    name: str
    # The metric by which the best checkpoint is chosen; higher is better.
    headline: str
    # Names of what `metrics` answers; those of the class are all that any of its tasks may have.
    figures: tuple[str, ...]
    # The loss as a module; its buffers are saved and restored.
    criterion: Criterion
    # The probability at which each class is named, for `decide`; saved in checkpoints and exported files.
    thresholds: tuple[float, ...] | None
    # Logits are divided by it before they become probabilities; saved in checkpoints, baked into exported files.
    temperature: float

    def training_step(self, model: nn.Module, batch: Batch, *, record: bool = True) -> StepResult:
        """Return the loss of a batch, with gradient; unless `record`, the counts of the criterion stay as they are."""
        ...

    def predict(self, model: nn.Module, batch: Batch) -> Prediction:
        """Return what the model says of a batch, without gradient."""
        ...

    def calibrate(self, prediction: Prediction) -> Prediction:
        """Choose the temperature, and the thresholds where there are some, by the predictions for the validation images.

        Returns the prediction as it reads with them.
        """
        ...

    def metrics(self, prediction: Prediction) -> dict[str, float]:
        """Return the figures of a whole split, name -> value."""
        ...

    def table(self, prediction: Prediction) -> list[list[str]]:
        """Return the table that a person reads first: a header, then rows of text."""
        ...

    def render(self, prediction: Prediction, paths: Sequence[str], folder: Path) -> list[Path]:
        """Write tables and pictures of a whole split; return the files."""
        ...


class Objective(Protocol):
    """What training asks for a batch: a task's `training_step`, or that with more to learn from around it."""

    def __call__(self, model: nn.Module, batch: Batch, *, record: bool = True) -> StepResult:
        """Return the loss of a batch; unless `record`, nothing counts it: it is a second look, or one at the network alone."""
        ...


# (batch, step, rank) -> batch, on the device.
Transform = Callable[[Batch, int, int], Batch]

# Sums over an epoch by name, and the samples that they are over.
Sums = tuple[dict[str, float], int]


@dataclass
class Progress:
    """Where a run stands. It is saved in the checkpoint and restored from it.

    Attributes:
        epoch: finished epochs.
        batch: batches done in the epoch under way.
        step: batches done in the whole run.
        samples: samples seen in the epoch under way, of this process.
        sums: StepResult.sums added up over the epoch under way, of this process.
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
    """Watches a run. It reads, and changes nothing; a subclass overrides what it wants to hear."""

    def begin(self, progress: Progress, batches: int) -> None:
        """An epoch of `batches` batches begins, or goes on after a resume."""

    def step(self, progress: Progress) -> None:
        """A batch was done. Cheap: nothing is read from the device."""

    def validated(self, prediction: Prediction) -> None:
        """The validation images were answered."""

    def report(self, progress: Progress, means: Mapping[str, float]) -> None:
        """The running means were read, every print interval."""

    def epoch(self, progress: Progress, row: Mapping[str, float]) -> None:
        """An epoch ended with these figures; what was not measured is not a number."""

    def close(self) -> None:
        """The run ended or stops."""
