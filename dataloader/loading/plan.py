"""Which samples form which batch: pure arithmetic, equal on every process and for any number of workers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from utils.errors import UserError
from utils.randomness import Stream, numpy_rng, shuffled
from utils.text import counted


class Share(NamedTuple):
    """The position of a batch in its accumulation group.

    Attributes:
        share: samples of this batch / samples of the group; the shares of a group add up to 1.
        closes_group: whether the weights change after this batch.
    """

    share: float
    closes_group: bool


def epoch_order(count: int, epoch: int, *, seed: int, shuffle: bool) -> np.ndarray:
    """Return the order of an epoch: a permutation of range(count), int64 (count,)."""
    return shuffled(count, Stream.ORDER, seed, epoch) if shuffle else np.arange(count, dtype=np.int64)


def endless_order(count: int, epoch: int, *, seed: int, length: int) -> np.ndarray:
    """Return `length` indices: the part of an endless sequence of permutations of range(count) that belongs to an epoch, int64 (length,).

    Epochs that are shorter than the data continue where the one before ended, so every image is seen equally often.
    """
    first = epoch * length
    walks = range(first // count, (first + length - 1) // count + 1)
    row = np.concatenate([epoch_order(count, walk, seed=seed, shuffle=True) for walk in walks])
    return row[first - walks[0] * count :][:length]


def drawn_order(draws: np.ndarray, epoch: int, *, seed: int, length: int) -> np.ndarray:
    """Return `length` indices, each as often as its share of `draws` says, rounded down or up by chance, in random order.

    Systematic sampling (Madow, 1949): equally spaced points on a line on which every image has a segment as long as its
    expected number of draws. Unlike independent draws, this neither misses nor repeats images by chance.

    Args:
        draws: expected draws of every image, float64 (N,), in any unit.
    """
    order = shuffled(len(draws), Stream.DRAW, seed, epoch)
    ends = np.cumsum(draws[order])
    points = np.arange(length) + numpy_rng(Stream.DRAW, seed, epoch, 0).random()
    chosen = order[np.searchsorted(ends / ends[-1] * length, points, side="right")]
    return chosen[shuffled(length, Stream.ORDER, seed, epoch)]


def turns(order: np.ndarray) -> np.ndarray:
    """Return how often each entry occurred before, int64, so that a repeated image is augmented differently."""
    places = np.argsort(order, kind="stable")
    _, first, counts = np.unique(order[places], return_index=True, return_counts=True)
    found = np.empty(len(order), dtype=np.int64)
    found[places] = np.arange(len(order)) - np.repeat(first, counts)
    return found


@dataclass(frozen=True, eq=False)
class TrainPlan:
    """Shuffled batches of equal size on every process.

    A global batch of `batch_size` samples is cut into `world` slices of equal length. The last, partial batch
    is kept, cut to a multiple of `world`; it is dropped when fewer than two samples per process remain (batch
    normalization needs two), unless it is the only one.

    Attributes:
        count: samples of the split.
        batch_size: samples per step, over all processes.
        seed: of the order.
        rank, world: number of this process, and of all processes.
        draws: expected draws of every sample, float64 (count,); None draws each equally often.
        epoch_size: samples per epoch; None: the sum of the draws, or each sample once.
        repeats: times that every sample occurs in succession, so that its copies are in one batch (Hoffer et al., arXiv 1901.09335; Berman
            et al., arXiv 1902.05509). The epoch size stays: an epoch has a part of the samples, and the next epochs the others. The
            copies go to different processes.

    Raises:
        UserError: the batch cannot be shared equally, or there are fewer samples than processes.
    """

    count: int
    batch_size: int
    seed: int = 0
    rank: int = 0
    world: int = 1
    draws: np.ndarray | None = None
    epoch_size: int | None = None
    repeats: int = 1

    def __post_init__(self) -> None:
        assert 0 <= self.rank < self.world, f"rank {self.rank} of {self.world}"
        assert self.draws is None or self.draws.shape == (self.count,), "one expected number of draws per sample"
        if self.repeats < 1:
            raise UserError(f"--aug_repeats {self.repeats}: write a number of at least 1; 3 is a common choice")
        if self.batch_size < 1 or self.batch_size % self.world:
            raise UserError(f"-b {self.batch_size} cannot be shared by {self.world} processes: write a multiple of {self.world}")
        if self.epoch_size is not None and self.epoch_size < 1:
            raise UserError(f"--epoch_size {self.epoch_size}: write a number of at least 1")
        if self.length < self.world:
            images = counted(self.length, "training image is", "training images are")
            raise UserError(f"{images} too few for {self.world} processes: use fewer processes")

    def __len__(self) -> int:
        return self.length // self.batch_size + (self._last() > 0)

    @property
    def length(self) -> int:
        """Samples that are drawn for an epoch; the last few may be too few for a batch."""
        if self.epoch_size is not None:
            return self.epoch_size
        return self.count if self.draws is None else max(1, round(float(self.draws.sum())))

    @property
    def samples(self) -> int:
        """Samples of an epoch, over all processes."""
        return self.length // self.batch_size * self.batch_size + self._last()

    def order(self, epoch: int) -> np.ndarray:
        """Return the samples of an epoch in their order, over all processes, int64 (length,)."""
        different = -(-self.length // self.repeats)
        if self.draws is not None:
            order = drawn_order(self.draws, epoch, seed=self.seed, length=different)
        else:
            order = endless_order(self.count, epoch, seed=self.seed, length=different)
        return order.repeat(self.repeats)[: self.length]

    def size(self, batch: int) -> int:
        """Return the number of samples of a batch, over all processes."""
        assert 0 <= batch < len(self), f"batch {batch} of {len(self)}"
        return self.batch_size if batch < self.length // self.batch_size else self._last()

    def batches(self, epoch: int, start: int = 0) -> Iterator[np.ndarray]:
        """Yield the indices of this process's part of every batch from `start` on, int64 (n,)."""
        return (indices for indices, _ in self.keys(epoch, start))

    def keys(self, epoch: int, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the indices, and how often each was drawn before in this epoch, both int64 (n,)."""
        order = self.order(epoch)
        before = turns(order)
        for batch in range(start, len(self)):
            first, size = batch * self.batch_size, self.size(batch)
            part = size // self.world
            # Copies are adjacent, so dealing them out in turns sends them to different processes.
            mine = slice(first + self.rank * part, first + (self.rank + 1) * part)
            if self.repeats > 1:
                mine = slice(first + self.rank, first + size, self.world)
            yield order[mine], before[mine]

    def shares(self, accumulate: int) -> list[Share]:
        """Return the position of every batch in its group when the gradients of `accumulate` batches are summed."""
        if accumulate < 1:
            raise UserError(f"--accumulate {accumulate}: write a number of at least 1")
        sizes = [self.size(batch) for batch in range(len(self))]
        places = []
        for first in range(0, len(sizes), accumulate):
            group = sizes[first : first + accumulate]
            places += [Share(size / sum(group), number == len(group) - 1) for number, size in enumerate(group)]
        return places

    def _last(self) -> int:
        rest = self.length % self.batch_size
        rest -= rest % self.world
        alone = self.length < self.batch_size
        return rest if rest >= 2 * self.world or alone else 0


@dataclass(frozen=True)
class ScorePlan:
    """Every sample exactly once, in order: process r takes the samples r, r + world, r + 2 world, ...

    Attributes:
        count: samples of the split.
        batch_size: samples per step, over all processes.
        rank, world: number of this process, and of all processes.
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
        return (indices for indices, _ in self.keys(epoch, start))

    def keys(self, epoch: int, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the indices, and zeros: none was drawn before."""
        del epoch
        mine = np.arange(self.rank, self.count, self.world, dtype=np.int64)
        for batch in range(start, len(self)):
            indices = mine[batch * self._part() : (batch + 1) * self._part()]
            yield indices, np.zeros_like(indices)

    def _mine(self) -> range:
        return range(self.rank, self.count, self.world)

    def _part(self) -> int:
        return max(1, self.batch_size // self.world)


BatchPlan = TrainPlan | ScorePlan
