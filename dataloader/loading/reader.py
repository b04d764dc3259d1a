"""Makes one batch: reads files, augments, resizes and stacks images and targets."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from dataloader.augment.chain import Augment
from dataloader.images.picture import Picture
from dataloader.images.preprocess import Preprocess
from dataloader.images.read import ImageError
from dataloader.loading.size_schedule import SizeSchedule
from dataloader.loading.slots import Slots
from dataloader.sample import Batch, BatchFields, BatchRow, Sample, Unreadable, blank_images, stack
from dataloader.splits.integrity import has_changed
from dataloader.splits.split import Split
from dataloader.targets.plane_change import scaled
from dataloader.workers.pool import CurrentReads
from utils.errors import UserError
from utils.randomness import Stream, numpy_rng

# (epoch, epoch whose size the images have, indices, repeats, batch number). Everything a worker needs is in the key, so workers are
# stateless.
Key = tuple[int, int, np.ndarray, np.ndarray, int]

# Images that are drawn in the place of one that cannot be read.
DRAWS = 10


class SlottedBatch(NamedTuple):
    """A batch whose images, uint8 (N, C, H, W), are in a slot, followed by its masks, (N, H, W).

    Attributes:
        slot: its number.
        shape: N, H and W.
        about: the rest of the batch.
        masks: dtype of the masks in the slot; None without masks.
    """

    slot: int
    shape: tuple[int, int, int]
    about: BatchFields
    masks: np.dtype | None


@dataclass(frozen=True, eq=False)
class BatchReader(Dataset[Batch | SlottedBatch | UserError]):
    """Key -> Batch: reads, augments and resizes images and targets.

    A UserError is returned as a value: raised in a worker, it would arrive with a traceback in its message.

    Attributes:
        split: files, targets and weights.
        read: index -> picture.
        preprocess: geometry of the batch.
        augment: operations on single images.
        seed: of the augmentation.
        tolerant: leave unreadable images out of the batch instead of stopping.
        sizes: image size of every epoch; None keeps that of `preprocess`.
        copies: rows of every sample: the clean image, and augmented ones.
        plain_from: epoch, of those whose size the images have, from which on images are no longer put together; None for never.
        slots: shared memory for the images, used in turn; None returns the batch itself.
        notes: which image is being read, in case it crashes the process.
    """

    split: Split
    read: Callable[[int], Picture]
    preprocess: Preprocess
    augment: Augment
    seed: int
    tolerant: bool
    sizes: SizeSchedule | None = None
    copies: int = 1
    plain_from: int | None = None
    slots: Slots | None = None
    notes: CurrentReads | None = None

    def __getitem__(self, key: Key) -> Batch | SlottedBatch | UserError:
        epoch, sized_as, indices, turns, number = key
        # One row per copy, so that a copy keeps the target and the weight from its augmentation.
        rows: list[list[BatchRow]] = [[] for _ in range(self.copies)]
        unreadable: list[Unreadable] = []
        preprocess = self.preprocess if self.sizes is None else replace(self.preprocess, image_size=self.sizes.at(sized_as))
        plain = self.plain_from is not None and sized_as >= self.plain_from
        augment = self.augment.plain() if plain else self.augment
        augment = augment.at(preprocess.image_size)
        height, width = preprocess.image_size
        slot = number % len(self.slots) if self.slots else 0
        room = (self.copies * len(indices), height, width)
        waiting = self.slots.images(slot, *room, bands=preprocess.bands) if self.slots else None
        images = blank_images(*room, shared=get_worker_info() is not None, bands=preprocess.bands) if waiting is None else waiting
        images = images.unflatten(0, (self.copies, len(indices)))
        places = list(images)
        for index, turn in zip(indices.tolist(), turns.tolist(), strict=True):
            if self.notes is not None:
                self.notes.note(index)
            try:
                sample = self._read(index)
                versions = [self._fitted(each, index, preprocess) for each in self._versions(sample, augment, epoch, turn)]
            except ImageError as error:
                if not self.tolerant:
                    return UserError(str(error))
                unreadable.append(Unreadable(error.path, error.reason))
                continue
            except UserError as error:
                return error
            for row, place, (pixels, kept) in zip(rows, places, versions, strict=True):
                place[len(row)] = pixels
                row.append(kept)
        if self.notes is not None:
            self.notes.note(-1)
        for gap in range(len(rows[0]), min(2, len(indices))):
            # Batch norm needs two images, and every process needs a batch: padded with black images of weight 0.
            images[:, gap] = 0
            for row in rows:
                row.append(self._nothing(preprocess))
        count = len(rows[0])
        whole = self.copies == 1 or count == len(indices)
        images = images[:, :count].flatten(0, 1)
        # Checked after reading, so that a change in between is noticed.
        changed = tuple(self.split.file(index) for index in indices.tolist() if has_changed(self.split, index))
        told = {"unreadable": tuple(unreadable), "changed": changed, "epoch": epoch, "copies": self.copies, "plain": plain}
        try:
            batch = stack([each for row in rows for each in row], images, **told)
        except UserError as error:
            return error
        # With a missing sample the copies are not contiguous in the slot, so the batch itself is sent.
        return batch if waiting is None or not whole else self._slotted(batch, slot)

    def _versions(self, sample: Sample, augment: Augment, epoch: int, turn: int) -> Iterator[Sample]:
        """Yield the augmented sample; with several copies, the sample itself and then augmented ones."""
        if self.copies == 1:
            yield augment(sample, self._rng(epoch, sample.index, 0, turn), self)
            return
        yield sample
        for copy in range(1, self.copies):
            yield augment(sample, self._rng(epoch, sample.index, copy, turn), self)

    def draw(self, rng: np.random.Generator) -> Sample:
        """Return an image of the split as it was read, for operations that put several together.

        Those that cannot be read are told when it is their own turn; here another one is drawn.

        Raises:
            ImageError: several in a row cannot be read.
        """
        for attempt in range(DRAWS):
            index = int(rng.integers(len(self.split)))
            if self.notes is not None:
                self.notes.note(index)
            try:
                return self._read(index)
            except ImageError:
                if attempt == DRAWS - 1:
                    raise
        raise AssertionError("unreachable")

    def _rng(self, epoch: int, index: int, copy: int, turn: int) -> np.random.Generator:
        """Return the generator of an image; copy and repeat are part of its seed only where they are not 0."""
        more = (copy, turn) if copy or turn else ()
        return numpy_rng(Stream.AUGMENT, self.seed, epoch, index, *more)

    def _read(self, index: int) -> Sample:
        picture, target = self.read(index), self.split.target(index)
        try:
            target = picture.follow(target)
        except UserError as error:
            raise UserError(f"{self.split.file(index)}: {error}") from error
        return Sample(picture.image, target, float(self.split.weights[index]), index)

    def _fitted(self, version: Sample, index: int, preprocess: Preprocess) -> tuple[Tensor, BatchRow]:
        """Return the pixels of an augmented image at the model's size, (bands, H, W), and its row of the batch."""
        pixels = preprocess.apply(version.image)
        target = version.target
        if (size := target.image_size()) is not None:
            if size != version.image.shape[:2]:
                name = self.split.file(index)
                raise UserError(f"{name}: an augmentation gave an image and a target of different sizes; use sample.moved(image, change)")
            target = target.moved(preprocess.change(size))
        return pixels, BatchRow(target, version.weight, index)

    def _nothing(self, preprocess: Preprocess) -> BatchRow:
        target = self.split.nothing()
        if target.is_spatial:
            target = target.moved(scaled((1, 1), preprocess.image_size))
        # index=-1 marks padding, so that no result is stored for a real image.
        return BatchRow(target, weight=0.0, index=-1)

    def _slotted(self, batch: Batch, slot: int) -> SlottedBatch:
        """Return the batch whose images are in a slot; copies its masks behind them."""
        assert self.slots is not None
        about, masks = batch.about(), None
        count, _, height, width = batch.images.shape
        if isinstance(about.targets, Tensor):
            values = about.targets.numpy()
            place = self.slots.array(slot, values.shape, values.dtype, start=batch.images.nbytes)
            if place is not None:
                place[:] = values
                about, masks = about._replace(targets=None), values.dtype
        return SlottedBatch(slot, (count, height, width), about, masks)
