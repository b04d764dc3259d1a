"""From files to batches, in worker processes; everything random is a function of (seed, epoch, index)."""

import math
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset, Sampler, get_worker_info

from dataloader.augment.chain import Augment
from dataloader.images.preprocess import Preprocess
from dataloader.images.read import ImageError
from dataloader.loading.plan import Plan, ScorePlan, TrainPlan
from dataloader.loading.sizes import SizeSchedule
from dataloader.loading.slots import Slots
from dataloader.loading.workers import AHEAD, CurrentReads, WorkerPool
from dataloader.sample import Batch, BatchFields, Sample, Unreadable, blank_images, rebuilt, stack
from dataloader.splits.catalog import Split
from dataloader.splits.integrity import has_changed
from utils.errors import UserError
from utils.logs import log
from utils.randomness import Stream, numpy_rng
from utils.text import FirstNames, counted

# The epoch travels with the indices, so that workers need no state of their own; and the number of the batch in its walk.
Key = tuple[int, np.ndarray, np.ndarray, int]


class SlottedBatch(NamedTuple):
    """A batch whose images, uint8 (N, 3, H, W), wait in a slot.

    Attributes:
        slot: its number.
        shape: N, H and W.
        about: the rest of the batch.
    """

    slot: int
    shape: tuple[int, int, int]
    about: BatchFields


@dataclass(frozen=True, eq=False)
class BatchReader(Dataset[Batch | SlottedBatch | UserError]):
    """(epoch, indices, how often each was drawn before in the epoch, number) -> Batch: reads, augments and resizes.

    A user's mistake comes back as a value: an exception would lose its one clear line on the way out of a worker.

    Attributes:
        split: targets and weights.
        read: index -> image, uint8 (H, W, 3).
        preprocess: geometry of the batch.
        augment: operations on single images.
        seed: of the augmentation.
        tolerant: leave unreadable images out of the batch instead of stopping.
        sizes: of the images of every epoch; None keeps the size of `preprocess`.
        splits: copies of every sample: the clean image, and augmented ones.
        slots: where images are left for the main process, in turn; None hands over the batch itself.
        notes: of what is being read, for the case that it ends the process.
    """

    split: Split
    read: Callable[[int], np.ndarray]
    preprocess: Preprocess
    augment: Augment
    seed: int
    tolerant: bool
    sizes: SizeSchedule | None = None
    splits: int = 1
    slots: Slots | None = None
    notes: CurrentReads | None = None

    def __getitem__(self, key: Key) -> Batch | SlottedBatch | UserError:
        epoch, indices, turns, number = key
        # One row for each copy, so that a copy keeps the target and the weight that its augmentation gave it.
        copies: list[list[Sample]] = [[] for _ in range(self.splits)]
        unreadable: list[Unreadable] = []
        preprocess = self.preprocess if self.sizes is None else replace(self.preprocess, image_size=self.sizes.at(epoch))
        augment = self.augment.at(preprocess.image_size)
        height, width = preprocess.image_size
        slot = number % len(self.slots) if self.slots else 0
        room = (self.splits * len(indices), height, width)
        waiting = self.slots.images(slot, *room) if self.slots else None
        images = blank_images(*room, shared=get_worker_info() is not None) if waiting is None else waiting
        images = images.unflatten(0, (self.splits, len(indices)))
        places = list(images)
        for index, turn in zip(indices.tolist(), turns.tolist(), strict=True):
            if self.notes is not None:
                self.notes.note(index)
            try:
                sample = self._read(index)
            except ImageError as error:
                if not self.tolerant:
                    return UserError(str(error))
                unreadable.append(Unreadable(error.path, error.reason))
                continue
            except UserError as error:
                return error
            for row, place, version in zip(copies, places, self._versions(sample, augment, epoch, turn), strict=True):
                place[len(row)] = preprocess.apply(version.image)
                row.append(_kept(version, sample))
        if self.notes is not None:
            self.notes.note(-1)
        for gap in range(len(copies[0]), min(2, len(indices))):
            # Batch norm needs two, and every process a batch: black images that weigh nothing fill the gap.
            images[:, gap] = 0
            for row in copies:
                row.append(self._nothing(int(indices[0])))
        count = len(copies[0])
        whole = self.splits == 1 or count == len(indices)
        images = images[:, :count].flatten(0, 1)
        # Looked at after reading, so that nothing changes unseen in between.
        changed = tuple(self.split.file(index) for index in indices.tolist() if has_changed(self.split, index))
        told = {"unreadable": tuple(unreadable), "changed": changed, "epoch": epoch, "splits": self.splits}
        try:
            batch = stack([sample for row in copies for sample in row], images, **told)
        except UserError as error:
            return error
        # Copies of fewer samples no longer lie behind one another in the slot.
        return batch if waiting is None or not whole else SlottedBatch(slot, (len(batch), height, width), batch.about())

    def _versions(self, sample: Sample, augment: Augment, epoch: int, turn: int) -> Iterator[Sample]:
        """Yield the augmented sample; with several splits, the sample itself and then augmented ones."""
        if self.splits == 1:
            yield augment(sample, self._rng(epoch, sample.index, 0, turn))
            return
        yield sample
        for copy in range(1, self.splits):
            yield augment(sample, self._rng(epoch, sample.index, copy, turn))

    def _rng(self, epoch: int, index: int, copy: int, turn: int) -> np.random.Generator:
        """Return the generator of an image; what a plain run has no need of is no part of the position."""
        more = (copy, turn) if copy or turn else ()
        return numpy_rng(Stream.AUGMENT, self.seed, epoch, index, *more)

    def _nothing(self, index: int) -> Sample:
        target = np.zeros_like(self.split.targets[index])
        # It stands for no image, so that nothing is noted down under the number of one.
        return Sample(image=np.zeros((1, 1, 3), np.uint8), target=target if target.ndim else int(target), weight=0.0, index=-1)

    def _read(self, index: int) -> Sample:
        target = self.split.targets[index]
        return Sample(
            image=self.read(index),
            # A copy: what an augmentation writes into it must not reach the next epoch.
            target=target.copy() if isinstance(target, np.ndarray) else int(target),
            weight=float(self.split.weights[index]),
            index=index,
        )


def _kept(version: Sample, sample: Sample) -> Sample:
    """Return what is kept of an augmented sample: its target and weight, under the number of the image, without the pixels."""
    if version.target is sample.target and version.weight == sample.weight:
        return sample
    return replace(version, image=sample.image, index=sample.index)


class _Keys(Sampler[Key]):
    """The keys of one epoch, from the position that was last set."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.epoch = 0
        self.start = 0

    def __iter__(self) -> Iterator[Key]:
        epoch = self.epoch
        return ((epoch, *drawn, number) for number, drawn in enumerate(self.plan.keys(epoch, self.start)))


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
        read: index -> image, uint8 (H, W, 3), such as a cache has it; `split.read` when not given.
        rank, world: number of this process, and how many there are.
        strict: in training too, an unreadable image is an error.
        tolerant: in evaluation too, an unreadable image is left out of its batch.
        pin_memory: put batches into page-locked memory for a GPU.
        draws, epoch_size, repeats: of the plan of training (TrainPlan).
        sizes, splits: of the images of training (BatchReader).
        look: called when an epoch begins.
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
        read: Callable[[int], np.ndarray] | None = None,
        rank: int = 0,
        world: int = 1,
        strict: bool = False,
        tolerant: bool = False,
        pin_memory: bool = False,
        draws: np.ndarray | None = None,
        epoch_size: int | None = None,
        repeats: int = 1,
        sizes: SizeSchedule | None = None,
        splits: int = 1,
        look: Callable[[], object] | None = None,
    ) -> None:
        assert shuffle or augment is None or not augment.operations, "evaluation data is never augmented"
        if workers < 0:
            raise UserError(f"-j {workers}: write 0 or more loader processes")
        self.split = split
        self.read = read or split.read
        self.plan: Plan
        if shuffle:
            drawn = {"draws": draws, "epoch_size": epoch_size, "repeats": repeats}
            self.plan = TrainPlan(len(split), batch_size, seed=seed, rank=rank, world=world, **drawn)
        else:
            self.plan = ScorePlan(len(split), batch_size, rank=rank, world=world)
        self._keys = _Keys(self.plan)
        self._walks = 0
        self._changed = FirstNames()
        self._look = look
        self._slots = None
        if workers and not pin_memory:
            # One is emptied here while all others are being filled: the next is asked for once this one is empty.
            size = splits * max(1, batch_size // world) * math.prod(preprocess.image_size) * 3
            self._slots = Slots.make(workers * AHEAD + 1, size)
        tolerant = tolerant or (shuffle and not strict)
        notes = CurrentReads(workers)
        more = {"sizes": sizes, "splits": splits, "slots": self._slots, "notes": notes}
        reader = BatchReader(split, self.read, preprocess, augment or Augment(), seed, tolerant, **more)
        self._crew = WorkerPool(reader, self._keys, workers=workers, pin_memory=pin_memory, notes=notes, name=split.file)
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
        if self._look is not None:
            # While the processes read ahead.
            self._look()
        for _ in range(start_batch, len(self.plan)):
            assert number == self._walks, "another epoch was started meanwhile"
            item = self._crew.take()
            if isinstance(item, UserError):
                raise item
            batch = self._emptied(item) if isinstance(item, SlottedBatch) else item
            self._tell_changed(batch)
            yield batch
        if rest := self._changed.rest():
            log().warning(f"{counted(rest, 'more file has', 'more files have')} changed ({len(self._changed):,} so far)")

    def _emptied(self, item: SlottedBatch) -> Batch:
        assert self._slots is not None
        return rebuilt(self._slots.copied(item.slot, *item.shape), *item.about)

    def _tell_changed(self, batch: Batch) -> None:
        for file in batch.changed:
            if number := self._changed.number(file):
                log().warning(f"{file} has changed since it was found; it is read as it is now ({number} changed so far)")

    def close(self) -> None:
        """End the workers; the loader cannot be used afterwards."""
        self._crew.dismiss()
