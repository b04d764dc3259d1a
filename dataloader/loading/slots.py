"""Slots of shared memory that loader processes reuse: allocating new shared pages takes as long as reading images from a cache."""

import math
import os
import weakref
from typing import Self

import numpy as np
import torch
from torch import Tensor

PIXELS = np.dtype(np.uint8)


class Slots:
    """An anonymous file in memory, divided into slots of equal size; unpickling opens it again.

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

    def array(self, slot: int, shape: tuple[int, ...], dtype: np.dtype, *, start: int = 0) -> np.ndarray | None:
        """Return the bytes of a slot from `start` on as an array of this shape, or None when it is too small for that."""
        end = start + math.prod(shape) * dtype.itemsize
        return self._bytes[slot, start:end].view(dtype).reshape(shape) if end <= self._bytes.shape[1] else None

    def copied(self, slot: int, shape: tuple[int, ...], dtype: np.dtype, *, start: int = 0) -> Tensor:
        """Return a copy of the content of a slot, which may be filled again afterwards."""
        content = self.array(slot, shape, dtype, start=start)
        assert content is not None, "more than was written there"
        # With NumPy: torch would use threads, which wait for one another while loader processes use the cores.
        return torch.from_numpy(content.copy())

    def images(self, slot: int, count: int, height: int, width: int, *, bands: int = 3) -> Tensor | None:
        """Return a slot as uint8 (count, bands, height, width), channels-last, or None when it is too small for them."""
        pixels = self.array(slot, (count, height, width, bands), PIXELS)
        return None if pixels is None else torch.from_numpy(pixels).permute(0, 3, 1, 2)
