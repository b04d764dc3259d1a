"""Batch-norm statistics for every validation, measured on the last training batches of the epoch with the weights at its end."""

from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from applications.contract import Task, Transform
from dataloader.sample import Batch
from optim.batchnorm_recalibration import learning_norms, recalibrate_norms
from optim.stepper import Stepper
from utils.distributed import World

# Memory for the held batches, which stay uint8 on the CPU. Larger images need fewer of them, since each has more pixels.
MOST_BYTES = 256 * 2**20
# Share of a short epoch: a forward pass costs a third of a step, so a quarter of the epoch adds 8% to its time.
PART = 0.25
FEWEST = 128


def batches_to_count(images: int, *, batch_size: int, image_size: tuple[int, int], batches_per_epoch: int) -> int:
    """Return how many of the last batches of an epoch are needed for `images`, within the limits on memory and time; at least one.

    Args:
        images: over all processes; 0 for none.
        batch_size: samples per batch, over all processes.
        image_size: (height, width).
        batches_per_epoch: in one epoch.
    """
    height, width = image_size
    part = max(FEWEST, int(PART * batch_size * batches_per_epoch))
    within = min(images, part, max(batch_size, MOST_BYTES // (3 * height * width)))
    return min(-(-within // batch_size), batches_per_epoch)


class BatchNormRecalibration:
    """Holds the last batches of an epoch, and measures batch-norm statistics on them before validation.

    The batches are a function of the position in the run, so a resumed run reads the same ones again.

    Args:
        model: the bare model.
        task: knows how images become what the model takes.
        stepper: knows the precision, and the averages that validation looks at.
        transforms: what is done to batches on the device.
        batches: how many are held; 0 leaves the running averages as they are.
        device: where the model is.
        world: the processes, each with its part of every batch.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        stepper: Stepper,
        transforms: Sequence[Transform],
        *,
        batches: int,
        device: torch.device,
        world: World,
    ) -> None:
        self.model = model
        self.task = task
        self.stepper = stepper
        self.transforms = transforms
        self.device = device
        self.world = world
        # Held on the CPU: the device's memory is needed for training.
        self.batches = batches if learning_norms(model) else 0
        self._held: deque[tuple[Batch, int]] = deque(maxlen=self.batches)

    def first(self, batch: int, batches: int) -> int:
        """Return the first batch to read where an epoch of `batches` continues at `batch`: batches to hold are read again."""
        self._held.clear()
        return min(batch, batches - self.batches)

    def hold(self, batch: Batch, step: int) -> None:
        """Keep the batch of a step, and drop the oldest."""
        self._held.append((batch, step))

    def refresh(self) -> None:
        """Measure the statistics with the weights that validation uses; release the batches."""
        if not self._held:
            return
        with self.stepper.averaged():
            recalibrate_norms(self.model, self._drained(), self._forward, world=self.world)
            self.stepper.take_buffers()

    def _drained(self) -> Iterator[Batch]:
        while self._held:
            batch, step = self._held.popleft()
            batch = batch.to(self.device)
            for transform in self.transforms:
                batch = transform(batch, step, self.world.rank)
            yield batch

    def _forward(self, batch: Batch) -> None:
        with self.stepper.forward(sync=True):
            # The loss is not asked for.
            self.model(self.task.normalize(batch.images))
