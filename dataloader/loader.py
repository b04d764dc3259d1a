"""From files to batches, in worker processes; everything random is a function of (seed, epoch, index)."""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from dataloader.augment.chain import Augment
from dataloader.catalog import Split
from dataloader.integrity import has_changed
from dataloader.plan import Plan, ScorePlan, TrainPlan
from dataloader.preprocess import Preprocess
from dataloader.read import ImageError
from dataloader.sample import Batch, Sample, Unreadable, stack
from dataloader.workers import Crew
from utils.errors import UserError
from utils.logs import log
from utils.randomness import Stream, numpy_rng

# The epoch travels with the indices, so that workers need no state of their own.
Key = tuple[int, np.ndarray]


@dataclass(frozen=True, eq=False)
class BatchReader(Dataset[Batch | UserError]):
    """(epoch, indices) -> Batch: reads, augments and resizes.

    A user's mistake comes back as a value: an exception would lose its one clear line on the way out of a worker.

    Attributes:
        split: what is read.
        preprocess: geometry of the batch.
        augment: operations on single images.
        seed: of the augmentation.
        tolerant: leave unreadable images out of the batch instead of stopping.
    """

    split: Split
    preprocess: Preprocess
    augment: Augment
    seed: int
    tolerant: bool

    def __getitem__(self, key: Key) -> Batch | UserError:
        epoch, indices = key
        samples: list[Sample] = []
        unreadable: list[Unreadable] = []
        height, width = self.preprocess.image_size
        # Channels-last memory: every image is one contiguous block of its batch.
        images = torch.empty((len(indices), height, width, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
        for index in indices.tolist():
            try:
                sample = self._read(index)
            except ImageError as error:
                if not self.tolerant:
                    return UserError(str(error))
                unreadable.append(Unreadable(error.path, error.reason))
                continue
            sample = self.augment(sample, numpy_rng(Stream.AUGMENT, self.seed, epoch, index))
            images[len(samples)] = self.preprocess.apply(sample.image)
            samples.append(sample)
        while len(samples) < min(2, len(indices)):
            # Batch norm needs two, and every process a batch: black images that weigh nothing fill the gap.
            images[len(samples)] = 0
            samples.append(self._nothing(int(indices[0])))
        # Looked at after reading, so that nothing changes unseen in between.
        changed = tuple(self.split.file(index) for index in indices.tolist() if has_changed(self.split, index))
        return stack(samples, images[: len(samples)], unreadable=tuple(unreadable), changed=changed)

    def _nothing(self, index: int) -> Sample:
        target = np.zeros_like(self.split.targets[index])
        return Sample(image=np.zeros((1, 1, 3), np.uint8), target=target if target.ndim else int(target), weight=0.0, index=index)

    def _read(self, index: int) -> Sample:
        target = self.split.targets[index]
        return Sample(
            image=self.split.read(index),
            target=target if isinstance(target, np.ndarray) else int(target),
            weight=float(self.split.weights[index]),
            index=index,
        )


class _Keys(Sampler[Key]):
    """The keys of one epoch, from the position that was last set."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.epoch = 0
        self.start = 0

    def __iter__(self) -> Iterator[Key]:
        epoch = self.epoch
        return ((epoch, indices) for indices in self.plan.batches(epoch, self.start))


class Loader:
    """Batches of a split, for training (shuffled, augmented, tolerant) or evaluation (in order, complete, strict).

    Batches are equal for any number of workers, and an epoch can start at any batch. One epoch is walked at a time:
    asking for another one ends the walk before it.

    Args:
        split: the images.
        preprocess: their geometry.
        batch_size: samples a step, over all processes.
        workers: reading processes; 0 reads in this one.
        seed: of order and augmentation.
        shuffle: True for training (TrainPlan), False for evaluation (ScorePlan).
        augment: operations on single images; only where `shuffle` is set.
        rank, world: number of this process, and how many there are.
        strict: in training too, an unreadable image is an error.
        pin_memory: put batches into page-locked memory for a GPU.
    """

    def __init__(
        self,
        split: Split,
        preprocess: Preprocess,
        *,
        batch_size: int,
        workers: int,
        seed: int,
        shuffle: bool,
        augment: Augment | None = None,
        rank: int = 0,
        world: int = 1,
        strict: bool = False,
        pin_memory: bool = False,
    ) -> None:
        assert shuffle or augment is None or not augment.operations, "evaluation data is never augmented"
        if workers < 0:
            raise UserError(f"-j {workers}: write 0 or more loader processes")
        self.split = split
        self.plan: Plan
        if shuffle:
            self.plan = TrainPlan(len(split), batch_size, seed=seed, rank=rank, world=world)
        else:
            self.plan = ScorePlan(len(split), batch_size, rank=rank, world=world)
        self._keys = _Keys(self.plan)
        self._walks = 0
        self._changed: set[str] = set()
        reader = BatchReader(split, preprocess, augment or Augment(), seed, tolerant=shuffle and not strict)
        self._crew = Crew(reader, self._keys, workers=workers, pin_memory=pin_memory)
        weakref.finalize(self, self._crew.dismiss)

    def __len__(self) -> int:
        return len(self.plan)

    def batches(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from `start_batch` on.

        Raises:
            UserError: an unreadable image in evaluation or with `strict`, or a worker that died.
        """
        self._keys.epoch, self._keys.start = epoch, start_batch
        self._crew.start()
        self._walks += 1
        number = self._walks
        for _ in range(start_batch, len(self.plan)):
            assert number == self._walks, "another epoch was started meanwhile"
            item = self._next()
            if isinstance(item, UserError):
                raise item
            self._tell_changed(item)
            yield item

    def _tell_changed(self, batch: Batch) -> None:
        """Name every file that changed, once."""
        for file in batch.changed:
            if file not in self._changed:
                self._changed.add(file)
                log().warning(f"{file} has changed since it was found; it is read as it is now ({len(self._changed)} changed so far)")

    def close(self) -> None:
        """End the workers; the loader cannot be used afterwards."""
        self._crew.dismiss()

    def _next(self) -> Batch | UserError:
        assert self._crew.walk is not None, "the loader was closed during an epoch"
        try:
            return next(self._crew.walk)
        except (RuntimeError, EOFError, OSError) as error:
            code = self._crew.lost()
            if code is None:
                raise
            raise UserError(
                f"a loader process died (exit code {code}): usually the machine is out of memory (-9), or /dev/shm is too small (-7). "
                "Use fewer workers (-j 1), or -j 0 to load in the main process"
            ) from error
