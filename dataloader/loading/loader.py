"""From files to batches, in worker processes; everything random is a function of (seed, epoch, index)."""

import math
import weakref
from collections.abc import Callable, Iterator

import numpy as np
from torch.utils.data import Sampler

from dataloader.augment.chain import Augment
from dataloader.images.picture import Picture
from dataloader.images.preprocess import Preprocess
from dataloader.loading.plan import BatchPlan, ScorePlan, TrainPlan
from dataloader.loading.reader import BatchReader, Key, SlottedBatch
from dataloader.loading.size_schedule import SizeSchedule
from dataloader.loading.slots import PIXELS, Slots
from dataloader.sample import Batch, rebuilt
from dataloader.splits.split import Split
from dataloader.workers.pool import AHEAD, CurrentReads, WorkerPool
from utils.errors import UserError
from utils.logs import log
from utils.text import FirstNames, counted


class _Keys(Sampler[Key]):
    """The keys of the batches of one epoch, from the position that was last set."""

    def __init__(self, plan: BatchPlan) -> None:
        self.plan = plan
        self.epoch = 0
        self.sized_as = 0
        self.start = 0

    def __iter__(self) -> Iterator[Key]:
        epoch, sized_as = self.epoch, self.sized_as
        return ((epoch, sized_as, *drawn, number) for number, drawn in enumerate(self.plan.keys(epoch, self.start)))


class Loader:
    """Batches of a split, for training (shuffled, augmented, tolerant) or evaluation (in order, complete, strict).

    Batches are equal for any number of workers, and an epoch can start at any batch. One epoch is read at a time:
    starting another one ends the one before.

    Args:
        split: the images.
        preprocess: their geometry.
        batch_size: samples per step, over all processes.
        workers: reading processes; 0 reads in this one.
        seed: of order and augmentation.
        shuffle: True for training (TrainPlan), False for evaluation (ScorePlan).
        augment: operations on single images; only where `shuffle` is set.
        read: index -> picture, such as from a cache; `split.read_picture` when not given.
        rank, world: number of this process, and of all processes.
        strict: an unreadable image is an error in training, too.
        tolerant: an unreadable image is left out of its batch in evaluation, too.
        pin_memory: put batches into page-locked memory for a GPU.
        draws, epoch_size, repeats: of the plan of training (TrainPlan).
        sizes, copies, plain_from: of the images of training (BatchReader).
        on_epoch_start: called when an epoch begins.
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
        read: Callable[[int], Picture] | None = None,
        rank: int = 0,
        world: int = 1,
        strict: bool = False,
        tolerant: bool = False,
        pin_memory: bool = False,
        draws: np.ndarray | None = None,
        epoch_size: int | None = None,
        repeats: int = 1,
        sizes: SizeSchedule | None = None,
        copies: int = 1,
        plain_from: int | None = None,
        on_epoch_start: Callable[[], object] | None = None,
    ) -> None:
        assert shuffle or augment is None or not augment.operations, "evaluation data is never augmented"
        if workers < 0:
            raise UserError(f"-j {workers}: write 0 or more loader processes")
        if augment is not None:
            augment.check_target(split.nothing())
        self.split = split
        self.read = read or split.read_picture
        self.plan: BatchPlan
        if shuffle:
            drawn = {"draws": draws, "epoch_size": epoch_size, "repeats": repeats}
            self.plan = TrainPlan(len(split), batch_size, seed=seed, rank=rank, world=world, **drawn)
        else:
            self.plan = ScorePlan(len(split), batch_size, rank=rank, world=world)
        self._keys = _Keys(self.plan)
        self._walks = 0
        self._changed = FirstNames()
        self._on_epoch_start = on_epoch_start
        self._slots = None
        self._bands = preprocess.bands
        if workers and not pin_memory:
            # One slot more than batches in flight: the main process copies from one while the workers fill the rest.
            pixel_bytes = preprocess.bands + split.nothing().pixel_bytes
            size = copies * max(1, batch_size // world) * math.prod(preprocess.image_size) * pixel_bytes
            self._slots = Slots.make(workers * AHEAD + 1, size)
        tolerant = tolerant or (shuffle and not strict)
        notes = CurrentReads(workers)
        more = {"sizes": sizes, "copies": copies, "plain_from": plain_from, "slots": self._slots, "notes": notes}
        reader = BatchReader(split, self.read, preprocess, augment or Augment(), seed, tolerant, **more)
        self._pool = WorkerPool(reader, self._keys, workers=workers, pin_memory=pin_memory, notes=notes, name=split.file)
        weakref.finalize(self, self._pool.dismiss)

    def __len__(self) -> int:
        return len(self.plan)

    def batches(self, epoch: int, start_batch: int = 0, *, sized_as: int | None = None) -> Iterator[Batch]:
        """Yield the batches of an epoch from `start_batch` on; images are as large as in the epoch `sized_as`, by default this one.

        Raises:
            UserError: an unreadable image in evaluation or with `strict`, or a worker that died.
        """
        self._keys.epoch, self._keys.start = epoch, start_batch
        self._keys.sized_as = epoch if sized_as is None else sized_as
        self._pool.start()
        self._walks += 1
        number = self._walks
        if self._on_epoch_start is not None:
            # Called while the workers read ahead.
            self._on_epoch_start()
        for _ in range(start_batch, len(self.plan)):
            assert number == self._walks, "another epoch was started meanwhile"
            item = self._pool.take()
            if isinstance(item, UserError):
                raise item
            batch = self._emptied(item) if isinstance(item, SlottedBatch) else item
            self._tell_changed(batch)
            yield batch
        if rest := self._changed.rest():
            log().warning(f"{counted(rest, 'more file has', 'more files have')} changed ({len(self._changed):,} so far)")

    def _emptied(self, item: SlottedBatch) -> Batch:
        assert self._slots is not None
        images = self._slots.copied(item.slot, (*item.shape, self._bands), PIXELS).permute(0, 3, 1, 2)
        about = item.about
        if item.masks is not None:
            about = about._replace(targets=self._slots.copied(item.slot, item.shape, item.masks, start=images.nbytes))
        return rebuilt(images, *about)

    def _tell_changed(self, batch: Batch) -> None:
        for file in batch.changed:
            if number := self._changed.number(file):
                log().warning(f"{file} has changed since it was found; it is read as it is now ({number} changed so far)")

    def close(self) -> None:
        """End the workers; the loader cannot be used afterwards."""
        self._pool.dismiss()
