"""Resize every batch at random, so that a network learns objects of many sizes (after Redmon and Farhadi, arXiv 1612.08242, section 2)."""

from dataclasses import dataclass, replace

import torch.nn.functional as F

from dataloader.batch.targets import resized
from dataloader.sample import Batch
from utils.randomness import Stream, numpy_rng

SPREAD = 0.15
# Sizes are rounded to this many steps of the base, so that cuDNN does not re-tune for every size.
STEPS = 28


def draw_width(base: int, *position: int) -> int:
    """Return a width in pixels from a normal distribution around `base`, cut off at two standard deviations, which are 15% of it."""
    rng = numpy_rng(*position)
    factor = rng.normal(1.0, SPREAD / 2)
    while abs(factor - 1) > SPREAD:
        factor = rng.normal(1.0, SPREAD / 2)
    unit = max(1, base // STEPS)
    return max(unit, round(base * factor / unit) * unit)


def possible_sizes(image_size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return every height and width that a batch can get, to check that a network accepts them."""
    height, width = image_size
    unit = max(1, width // STEPS)
    low, high = (round(width * factor / unit) for factor in (1 - SPREAD, 1 + SPREAD))
    return [(scaled_height(height, width, unit * steps), unit * steps) for steps in range(max(1, low), high + 1)]


def scaled_height(height: int, width: int, new_width: int) -> int:
    """Return the height that keeps the aspect ratio."""
    return max(1, round(height * new_width / width))


@dataclass(frozen=True)
class MultiScale:
    """A batch transform: every batch gets a random size, the same on all processes; the aspect ratio stays.

    Images become float32 in 0..255; masks and boxes are resized with them.
    """

    seed: int

    def __call__(self, batch: Batch, step: int, rank: int) -> Batch:
        """Return the resized batch, on the device of the given one."""
        del rank
        height, width = batch.images.shape[2:]
        new_width = draw_width(width, Stream.SCALE, self.seed, step)
        images = batch.images.float()
        if new_width != width:
            size = (scaled_height(height, width, new_width), new_width)
            images = F.interpolate(images, size=list(size), mode="bilinear", align_corners=False, antialias=True)
            return replace(batch, images=images, targets=resized(batch.targets, (height, width), size))
        return replace(batch, images=images)
