"""A random one of several mixes, for a batch or for each of its pairs or samples, and none in the last epochs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dataloader.batch.mix import PAIRS, Mode, draw_pairs
from dataloader.batch.targets import labels_of, to_dense
from dataloader.sample import Batch
from utils.randomness import Stream, numpy_rng

BatchTransform = Callable[[Batch, int, int], Batch]


@dataclass(frozen=True)
class RandomMix:
    """A batch transform: one of `mixes`, chosen uniformly, in all epochs before `until`.

    Attributes:
        mixes: at least one.
        until: the first epoch in which nothing is mixed; None mixes to the end.
        num_classes: width of the targets.
        seed: with step and rank, the only source of randomness.
        mode: of the mixes.
    """

    mixes: Sequence[BatchTransform]
    until: int | None
    num_classes: int
    seed: int
    mode: Mode = "batch"

    def __call__(self, batch: Batch, step: int, rank: int) -> Batch:
        """Return the batch, with floating-point images and dense targets whether it is mixed or not."""
        if self.until is not None and batch.epoch >= self.until:
            return replace(batch, images=batch.images.float(), targets=to_dense(batch.targets, self.num_classes))
        # The extra 1 gives the choice its own random stream, independent of the draws inside the mixes.
        rng = numpy_rng(Stream.MIX, self.seed, step, rank, 1)
        if len(self.mixes) == 1:
            return self.mixes[0](batch, step, rank)
        if self.mode == "batch":
            return self.mixes[int(rng.integers(len(self.mixes)))](batch, step, rank)
        draws = draw_pairs(len(batch), self.mode, numpy_rng(Stream.MIX, self.seed, step, rank, PAIRS)).draws
        chosen = torch.from_numpy(rng.integers(len(self.mixes), size=len(batch))[draws]).to(batch.images.device)
        return _rows_of([mix(batch, step, rank) for mix in self.mixes], chosen)


def _rows_of(batches: Sequence[Batch], chosen: Tensor) -> Batch:
    """Return the batch whose row i is that of the batch with the number `chosen[i]`, (N,)."""
    found = batches[0]
    for number, other in enumerate(batches[1:], start=1):
        mine = chosen == number
        found = replace(
            found,
            images=torch.where(mine[:, None, None, None], other.images, found.images),
            targets=torch.where(mine[:, None], labels_of(other.targets), labels_of(found.targets)),
            weights=torch.where(mine, other.weights, found.weights),
        )
    return found
