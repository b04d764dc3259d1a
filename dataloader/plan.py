"""Which samples form which batch: pure arithmetic, the same on every process and for every number of workers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from utils.errors import UserError
from utils.randomness import Stream, shuffled


class Share(NamedTuple):
    """Place of a batch in its accumulation group.

    Attributes:
        share: samples of this batch / samples of the group; the shares of a group add up to 1.
        closes_group: whether the weights change after this batch.
    """

    share: float
    closes_group: bool


def epoch_order(count: int, epoch: int, *, seed: int, shuffle: bool) -> np.ndarray:
    """Return the order of an epoch: a permutation of range(count), int64 (count,)."""
    return shuffled(count, Stream.ORDER, seed, epoch) if shuffle else np.arange(count, dtype=np.int64)


@dataclass(frozen=True)
class TrainPlan:
    """Shuffled batches of equal size on every process.

    A global batch of `batch_size` samples is cut into `world` slices of equal length. The last, partial batch
    is kept, cut to a multiple of `world`; it is dropped when fewer than two samples a process remain (batch
    normalization needs two), unless it is the only one.

    Attributes:
        count: samples of the split.
        batch_size: samples a step, over all processes.
        seed: of the order.
        rank, world: number of this process, and how many there are.

    Raises:
        UserError: the batch cannot be shared equally, or there are fewer samples than processes.
    """

    count: int
    batch_size: int
    seed: int = 0
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        assert 0 <= self.rank < self.world, f"rank {self.rank} of {self.world}"
        if self.batch_size < 1 or self.batch_size % self.world:
            raise UserError(f"-b {self.batch_size} cannot be shared by {self.world} processes: write a multiple of {self.world}")
        if self.count < self.world:
            raise UserError(f"{self.count} training images are too few for {self.world} processes: use fewer processes")

    def __len__(self) -> int:
        return self.count // self.batch_size + (self._last() > 0)

    @property
    def samples(self) -> int:
        """Samples of an epoch, over all processes."""
        return self.count // self.batch_size * self.batch_size + self._last()

    def size(self, batch: int) -> int:
        """Return the number of samples of a batch, over all processes."""
        assert 0 <= batch < len(self), f"batch {batch} of {len(self)}"
        return self.batch_size if batch < self.count // self.batch_size else self._last()

    def batches(self, epoch: int, start: int = 0) -> Iterator[np.ndarray]:
        """Yield the indices of this process's part of every batch from `start` on, int64 (n,)."""
        order = epoch_order(self.count, epoch, seed=self.seed, shuffle=True)
        for batch in range(start, len(self)):
            part = self.size(batch) // self.world
            first = batch * self.batch_size + self.rank * part
            yield order[first : first + part]

    def shares(self, accumulate: int) -> list[Share]:
        """Return the place of every batch of the epoch when the gradients of `accumulate` batches are summed."""
        if accumulate < 1:
            raise UserError(f"--accumulate {accumulate}: write a number of at least 1")
        sizes = [self.size(batch) for batch in range(len(self))]
        places = []
        for first in range(0, len(sizes), accumulate):
            group = sizes[first : first + accumulate]
            places += [Share(size / sum(group), number == len(group) - 1) for number, size in enumerate(group)]
        return places

    def _last(self) -> int:
        rest = self.count % self.batch_size
        rest -= rest % self.world
        alone = self.count < self.batch_size
        return rest if rest >= 2 * self.world or alone else 0


@dataclass(frozen=True)
class ScorePlan:
    """Every sample exactly once, in order: process r takes the samples r, r + world, r + 2 world, ...

    Attributes:
        count: samples of the split.
        batch_size: samples a step, over all processes.
        rank, world: number of this process, and how many there are.
    """

    count: int
    batch_size: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        assert 0 <= self.rank < self.world, f"rank {self.rank} of {self.world}"
        if self.batch_size < 1:
            raise UserError(f"-b {self.batch_size}: write a number of at least 1")

    def __len__(self) -> int:
        return -(-len(self._mine()) // self._part())

    @property
    def samples(self) -> int:
        """Samples of an epoch, over all processes."""
        return self.count

    def batches(self, epoch: int, start: int = 0) -> Iterator[np.ndarray]:
        """Yield the indices of every batch of this process from `start` on, int64 (n,); every epoch is the same."""
        del epoch
        mine = np.arange(self.rank, self.count, self.world, dtype=np.int64)
        for batch in range(start, len(self)):
            yield mine[batch * self._part() : (batch + 1) * self._part()]

    def _mine(self) -> range:
        return range(self.rank, self.count, self.world)

    def _part(self) -> int:
        return max(1, self.batch_size // self.world)


Plan = TrainPlan | ScorePlan
