"""Finds the largest batch that fits into a GPU's memory, by trying steps on a throw-away copy of the model."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from applications.training.training_parts import TrainingParts, for_trial
from dataloader.sample import Batch
from utils.errors import UserError
from utils.logs import log

LARGEST = 4096
# Memory in pieces cannot be used to the last byte, and other programs come and go.
SHARE = 0.9


def largest_that_fits(fits: Callable[[int], bool], *, most: int) -> int:
    """Return the largest batch that fits, of 1, 2, 3, 4, 6, 8, 12, 16, ... up to `most`; 0 when not even one image does.

    Args:
        fits: whether a step with that many images goes through; if one does, every smaller one does.
        most: never try more.
    """
    size = 0
    step = 1
    while step <= most and fits(step):
        size, step = step, step * 2
    between = size + size // 2
    return between if size < between <= most and fits(between) else size


def with_batch_size(parts: TrainingParts) -> TrainingParts:
    """Return the parts with --batch auto replaced by a number: what fits on every process, times their number.

    Raises:
        UserError: there is no GPU, or not even one image fits.
    """
    machine = parts.machine
    if parts.config.data.batch is None:
        return parts
    if machine.device.type != "cuda":
        raise UserError("--batch auto measures the memory of a GPU; on the CPU give a number, --batch_size 32")
    world = machine.world
    most = max(1, min(LARGEST, len(parts.split) // world.size))
    mine = largest_that_fits(Trial(parts).fits, most=most)
    # The trial is gone; its memory is to be, too, before the run begins.
    torch.cuda.empty_cache()
    share = min(world.gather(mine))
    if share == 0:
        raise UserError("not even one image fits into the memory of the GPU; lower --image_size or take a smaller --arch")
    total = share * world.size
    log().info(f"batch     {total} images a step fit into {SHARE:.0%} of the memory; next time --batch_size {total} saves the search")
    return replace(parts, config=parts.config.override({"batch_size": total, "batch": None}))


class Trial:
    """Training steps on generated images, with a model that is thrown away."""

    def __init__(self, parts: TrainingParts) -> None:
        # No other process takes part, and the step of the run does not matter.
        parts = replace(for_trial(parts), batches=1)
        self.device = parts.machine.device
        self.network, self.objective = parts.teaching.network, parts.teaching.objective
        self.stepper = parts.trial_stepper()
        self.transforms = parts.transforms
        self.size = parts.preprocess.image_size
        self.classes = len(parts.catalog.classes)
        self.dense = parts.split.targets.ndim == 2
        self.copies = parts.config.data.aug_splits

    def fits(self, images: int) -> bool:
        """Whether two steps with this many images, and the copies of --aug_splits, leave a share of the memory free."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        try:
            for step in range(2):
                self._step(images, step)
        except torch.OutOfMemoryError:
            return False
        total = torch.cuda.get_device_properties(self.device).total_memory
        return torch.cuda.max_memory_reserved(self.device) <= SHARE * total

    def _step(self, images: int, step: int) -> None:
        self.network.train()
        # Batch norm wants two values a channel even where the map is a single pixel.
        batch = self._batch(max(2, images)).to(self.device)
        for transform in self.transforms:
            batch = transform(batch, step, 0)
        with self.stepper.forward(sync=True):
            loss = self.objective(self.network, batch).loss
        self.stepper.step(loss, 1.0, closes_group=True, again=lambda: self.objective(self.network, batch, record=False).loss)

    def _batch(self, images: int) -> Batch:
        height, width = self.size
        rows = self.copies * images
        targets: Tensor = torch.zeros(rows, self.classes) if self.dense else torch.zeros(rows, dtype=torch.int64)
        pixels = torch.zeros(rows, height, width, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
        return Batch(pixels, targets, torch.ones(rows), torch.arange(images).repeat(self.copies), copies=self.copies)
