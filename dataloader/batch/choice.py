"""Mixes of batches by turns: one of several by chance, and none in the last epochs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dataloader.batch.targets import to_dense
from dataloader.sample import Batch
from utils.randomness import Stream, numpy_rng

Mix = Callable[[Batch, int, int], Batch]


@dataclass(frozen=True)
class Choice:
    """A batch transform: one of `mixes`, each as likely as the others, in all epochs before `until`.

    Attributes:
        mixes: at least one.
        until: the first epoch in which nothing is mixed; None mixes to the end.
        num_classes: width of the targets.
        seed: with step and rank, the only source of randomness.
    """

    mixes: Sequence[Mix]
    until: int | None
    num_classes: int
    seed: int

    def __call__(self, batch: Batch, step: int, rank: int) -> Batch:
        """Return the batch, with floating-point images and dense targets whether it is mixed or not."""
        if self.until is not None and batch.epoch >= self.until:
            return replace(batch, images=batch.images.float(), targets=to_dense(batch.targets, self.num_classes))
        # One number more than a mix has, so that the choice says nothing of what is drawn in it.
        chosen = 0 if len(self.mixes) == 1 else int(numpy_rng(Stream.MIX, self.seed, step, rank, 1).integers(len(self.mixes)))
        return self.mixes[chosen](batch, step, rank)
