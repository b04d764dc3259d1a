"""Self-paced training: the running loss of every image decides each epoch how much it counts."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from applications.contract import Objective, StepResult
from applications.objectives.captured_logits import CapturedLogits
from applications.progress import Progress
from criterions.weighted import Criterion
from dataloader.batch.targets import to_dense
from dataloader.sample import Batch
from utils.distributed import World


class Rule(Protocol):
    """A row of SELF_PACED."""

    @property
    def momentum(self) -> float:
        """Of the running loss of an image."""
        ...

    def weights(self, losses: Tensor, done: float) -> Tensor:
        """Return the weight of every image, float32 (N,), for its running loss (nan: not known) after `done` of the run, in [0, 1]."""
        ...


class SelfPacedWeights:
    """The running loss and the weight of every training image; the same on all processes, and saved with the run.

    Args:
        rule: running losses -> weights.
        images: how many there are.
        progress: where the run stands; read only.
        done: gives the share of the run that is done, in [0, 1]; weights change with it, and with every epoch.
        part: images of a batch on one process, at most.
        world: all processes.
        device: where batches are.
    """

    def __init__(
        self, rule: Rule, *, images: int, progress: Progress, done: Callable[[], float], part: int, world: World, device: torch.device
    ) -> None:
        self.rule = rule
        self.progress = progress
        self.part = part
        self.world = world
        self.epoch = -1
        # As it was when the weights changed last; nothing is, before the first batch.
        self.done = -1.0
        self._done_now = done
        # One extra slot: padding images have index -1, so their loss is written there and reset.
        self.losses = torch.full((images + 1,), torch.nan, device=device)
        self.weights = torch.ones(images, device=device)

    def transform(self, batch: Batch, step: int, rank: int) -> Batch:
        """Return the batch with the weights of this epoch, of the run or of its plan, multiplied in; a transform of the engine."""
        del step, rank
        done = self._done_now()
        if (self.progress.epoch, done) != (self.epoch, self.done):
            self.epoch, self.done = self.progress.epoch, done
            self.weights = self.rule.weights(self.losses[:-1], done)
        return replace(batch, weights=batch.weights * self.weights[batch.indices])

    def update(self, indices: Tensor, losses: Tensor) -> None:
        """Take in the losses (N,) of a batch, on every process those of all."""
        indices, losses = self._of_all(indices, losses)
        known = self.losses[indices]
        mixed = torch.lerp(losses, known, self.rule.momentum)
        self.losses[indices] = torch.where(known.isnan(), losses, mixed)
        self.losses[-1] = torch.nan

    def _of_all(self, indices: Tensor, losses: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses of all processes, in rank order, with index -1 where a batch was shorter: an image was unreadable."""
        if self.world.size == 1:
            return indices, losses
        missing = self.part - len(indices)
        # Positions up to 2**53 are exact in float64.
        mine = torch.stack([torch.cat([values.double(), values.new_full((missing,), -1).double()]) for values in (indices, losses)])
        everyone = torch.cat(self.world.gather_tensors(mine), dim=1)
        return everyone[0].long(), everyone[1].to(losses.dtype)

    def state_dict(self) -> dict[str, Any]:
        """Return plain values and the tensors themselves."""
        return {"epoch": self.epoch, "done": self.done, "losses": self.losses, "weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned; where the number of images changed, begin afresh."""
        if len(state["losses"]) == len(self.losses):
            self.epoch, self.done = state["epoch"], state["done"]
            self.losses.copy_(state["losses"])
            self.weights.copy_(state["weights"])


class SelfPacedObjective:
    """Wraps an objective and records the plain loss of every image for SelfPacedWeights.

    Args:
        objective: what is learned.
        criterion: gives the plain loss.
        pace: updated by it.
        num_classes: width of dense targets.
    """

    def __init__(self, objective: Objective, criterion: Criterion, pace: SelfPacedWeights, num_classes: int) -> None:
        self.objective = objective
        self.criterion = criterion
        self.pace = pace
        self.num_classes = num_classes

    def __call__(self, model: nn.Module, batch: Batch, *, record: bool = True) -> StepResult:
        """Return the loss of a batch, and count the images that weigh something."""
        student = CapturedLogits(model)
        result = self.objective(student, batch, record=record)
        if record:
            with torch.no_grad(), torch.autocast(batch.images.device.type, enabled=False):
                losses = self.criterion.plain(student.logits.detach().float(), to_dense(batch.targets, self.num_classes))
            self.pace.update(batch.indices, losses)
        return StepResult(result.loss, {**result.sums, "counted": (batch.weights > 0).sum()})
