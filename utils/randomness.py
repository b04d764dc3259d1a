"""Randomness as a function of position: every draw follows from integers such as (seed, epoch, index), never from history.

The hash is the finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
"""

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


class Stream(IntEnum):
    """First number of a position, so that two users of one seed never draw the same numbers."""

    SPLIT = 1
    ORDER = 2
    AUGMENT = 3
    MIX = 4
    MODEL = 5
    SCALE = 6
    DRAW = 7
    RESAMPLE = 8
    EXPLAIN = 9
    CURVATURE = 11
    RATE = 12
    PRUNE = 20
    SWEEP = 30


def derive_seed(*position: int) -> int:
    """Return the seed that belongs to a position, in [0, 2**63).

    Each number is hashed and folded into a state that is hashed again, so the order and the count of the
    numbers matter: (1, 2), (2, 1) and (1, 2, 0) have unrelated seeds. Numbers count modulo 2**64.
    """
    state = len(position)
    for number in position:
        state = _scramble(state ^ _scramble((int(number) + _GOLDEN) & _MASK))
    return state >> 1


def numpy_rng(*position: int) -> "np.random.Generator":
    """Return a NumPy generator that depends on `position` alone."""
    import numpy as np

    return np.random.Generator(np.random.PCG64(derive_seed(*position)))


def torch_generator(*position: int, device: str = "cpu") -> "torch.Generator":
    """Return a torch generator on `device` that depends on `position` alone."""
    import torch

    return torch.Generator(device=device).manual_seed(derive_seed(*position))


def shuffled(count: int, *position: int) -> "np.ndarray":
    """Return a permutation of range(count), int64, that depends on `position` alone.

    It is the order of `count` SplitMix64 outputs: integer arithmetic, the same under every version of NumPy.
    """
    import numpy as np

    state = np.arange(count, dtype=np.uint64) * np.uint64(_GOLDEN) + np.uint64(derive_seed(*position))
    state = (state ^ (state >> np.uint64(30))) * np.uint64(_FIRST)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(_SECOND)
    return np.argsort(state ^ (state >> np.uint64(31)), kind="stable")


def _scramble(state: int) -> int:
    state = ((state ^ (state >> 30)) * _FIRST) & _MASK
    state = ((state ^ (state >> 27)) * _SECOND) & _MASK
    return state ^ (state >> 31)
