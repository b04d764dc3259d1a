"""Finds the largest batch that fits into a GPU's memory, by trying steps on a throw-away copy of the model."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from applications import assemble
from applications.assemble import Machine
from applications.settings.options import RunConfig
from dataloader.images.preprocess import Preprocess
from dataloader.sample import Batch
from dataloader.splits.catalog import Catalog
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


def settled_batch_size(config: RunConfig, machine: Machine, catalog: Catalog, preprocess: Preprocess) -> RunConfig:
    """Return the settings with --batch auto replaced by a number: what fits on every process, times their number.

    Raises:
        UserError: there is no GPU, or not even one image fits.
    """
    if config.data.batch is None:
        return config
    if machine.device.type != "cuda":
        raise UserError("--batch auto measures the memory of a GPU; on the CPU give a number, --batch_size 32")
    world = machine.world
    most = max(1, min(LARGEST, len(catalog.splits["train"]) // world.size))
    mine = largest_that_fits(Trial(config, machine, catalog, preprocess).fits, most=most)
    # The trial is gone; its memory is to be, too, before the run begins.
    torch.cuda.empty_cache()
    share = min(world.gather(mine))
    if share == 0:
        raise UserError("not even one image fits into the memory of the GPU; lower --image_size or take a smaller --arch")
    total = share * world.size
    log().info(f"batch     {total} images a step fit into {SHARE:.0%} of the memory; next time --batch_size {total} saves the search")
    return config.override({"batch_size": total, "batch": None})


class Trial:
    """Training steps on generated images, with a model that is thrown away."""

    def __init__(self, config: RunConfig, machine: Machine, catalog: Catalog, preprocess: Preprocess) -> None:
        # No other process takes part, and the step of the run does not matter.
        self.machine = replace(machine, world=assemble.alone())
        classes = catalog.classes
        counts = assemble.count_classes(catalog.splits["train"], len(classes))
        self.several = catalog.several
        self.model = assemble.build_network(config, classes, 1, counts, images=len(catalog.splits["train"]))
        self.model.to(machine.device, memory_format=machine.precision.memory_format)  # pyright: ignore[reportCallIssue]
        name = assemble.task_name(catalog)
        self.task = assemble.build_task(config, classes, preprocess, machine.device, name=name, class_counts=counts)
        self.stepper = assemble.build_stepper(config, self.model, self.model, self.machine, 1)
        self.transforms = assemble.build_transforms(config, len(classes))
        self.size = preprocess.image_size
        self.classes = len(classes)
        self.splits = config.data.aug_splits

    def fits(self, images: int) -> bool:
        """Whether two steps with this many images, and the copies of --aug_splits, leave a share of the memory free."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.machine.device)
        try:
            for step in range(2):
                self._step(images, step)
        except torch.OutOfMemoryError:
            return False
        total = torch.cuda.get_device_properties(self.machine.device).total_memory
        return torch.cuda.max_memory_reserved(self.machine.device) <= SHARE * total

    def _step(self, images: int, step: int) -> None:
        self.model.train()
        # Batch norm wants two values a channel even where the map is a single pixel.
        batch = self._batch(max(2, images)).to(self.machine.device)
        for transform in self.transforms:
            batch = transform(batch, step, 0)
        with self.stepper.forward(sync=True):
            loss = self.task.training_step(self.model, batch).loss
        self.stepper.step(loss, 1.0, closes_group=True, again=lambda: self.task.training_step(self.model, batch, record=False).loss)

    def _batch(self, images: int) -> Batch:
        height, width = self.size
        rows = self.splits * images
        targets: Tensor = torch.zeros(rows, self.classes) if self.several else torch.zeros(rows, dtype=torch.int64)
        pixels = torch.zeros(rows, height, width, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
        return Batch(pixels, targets, torch.ones(rows), torch.arange(images).repeat(self.splits), splits=self.splits)
