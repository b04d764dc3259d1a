"""Places in memory that loader processes fill in turn: fresh shared pages cost as much time as the images of a cache."""

import os
import weakref
from typing import Self

import numpy as np
import torch
from torch import Tensor


class Slots:
    """A nameless file in memory, cut into slots of equal size; a process that is handed it opens it again.

    Args:
        place: the file.
        count: slots.
        size: bytes of each.
    """

    def __init__(self, place: str, count: int, size: int) -> None:
        self.place = place
        self._bytes = np.memmap(place, dtype=np.uint8, mode="r+", shape=(count, size)).view(np.ndarray)

    @classmethod
    def make(cls, count: int, size: int) -> Self | None:
        """Return new slots, or None where the system has no such files."""
        try:
            handle = os.memfd_create("darkroom-batches")
        except (AttributeError, OSError):
            return None
        os.ftruncate(handle, count * size)
        slots = cls(f"/proc/{os.getpid()}/fd/{handle}", count, size)
        weakref.finalize(slots, os.close, handle)
        return slots

    def __reduce__(self) -> tuple:
        return Slots, (self.place, *self._bytes.shape)

    def __len__(self) -> int:
        return len(self._bytes)

    def copied(self, slot: int, count: int, height: int, width: int) -> Tensor:
        """Return a copy of the images of a slot, which may be filled again afterwards."""
        # By NumPy: torch would wake its threads, which wait for one another while loader processes have the cores.
        pixels = self._bytes[slot, : count * height * width * 3].copy()
        return torch.from_numpy(pixels.reshape(count, height, width, 3)).permute(0, 3, 1, 2)

    def images(self, slot: int, count: int, height: int, width: int) -> Tensor | None:
        """Return a slot as uint8 (count, 3, height, width), channels-last, or None when it is too small for them."""
        size = count * height * width * 3
        if size > self._bytes.shape[1]:
            return None
        return torch.from_numpy(self._bytes[slot, :size].reshape(count, height, width, 3)).permute(0, 3, 1, 2)
