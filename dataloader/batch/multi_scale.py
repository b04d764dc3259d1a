"""Resize every batch at random, so that a network learns objects of many sizes (after Redmon and Farhadi, arXiv 1612.08242, section 2)."""

from dataclasses import dataclass, replace

import torch.nn.functional as F

from dataloader.batch.targets import resized
from dataloader.sample import Batch
from utils.randomness import Stream, numpy_rng

SPREAD = 0.15
# Sizes are rounded to this many steps of the base, so that cuDNN does not re-tune for every size.
STEPS = 28


def draw_width(base: int, *position: int, multiple: int | None = None) -> int:
    """Return a width in pixels from a normal distribution around `base`, cut off at two standard deviations, which are 15% of it.

    It is a multiple of `multiple`, or of a 28th of the base.
    """
    rng = numpy_rng(*position)
    factor = rng.normal(1.0, SPREAD / 2)
    while abs(factor - 1) > SPREAD:
        factor = rng.normal(1.0, SPREAD / 2)
    unit = multiple or max(1, base // STEPS)
    return max(unit, round(base * factor / unit) * unit)


def possible_sizes(image_size: tuple[int, int], multiple: int | None = None) -> list[tuple[int, int]]:
    """Return every height and width that a batch can get, to check that a network accepts them."""
    height, width = image_size
    unit = multiple or max(1, width // STEPS)
    low, high = (round(width * factor / unit) for factor in (1 - SPREAD, 1 + SPREAD))
    return [(scaled_height(height, width, unit * steps, multiple), unit * steps) for steps in range(max(1, low), high + 1)]


def scaled_height(height: int, width: int, new_width: int, multiple: int | None = None) -> int:
    """Return the height that keeps the aspect ratio, as nearly as a multiple of `multiple` can."""
    unit = multiple or 1
    return max(unit, round(height * new_width / width / unit) * unit)


@dataclass(frozen=True)
class MultiScale:
    """A batch transform: every batch gets a random size, the same on all processes; the aspect ratio stays.

    Images become float32 in 0..255; masks and boxes are resized with them.

    Attributes:
        seed: of the sizes.
        multiple: of which heights and widths are multiples, such as the largest stride of a detector; None for steps of a 28th.
    """

    seed: int
    multiple: int | None = None

    def __call__(self, batch: Batch, step: int, rank: int) -> Batch:
        """Return the resized batch, on the device of the given one."""
        del rank
        height, width = batch.images.shape[2:]
        new_width = draw_width(width, Stream.SCALE, self.seed, step, multiple=self.multiple)
        images = batch.images.float()
        size = (scaled_height(height, width, new_width, self.multiple), new_width)
        if size != (height, width):
            images = F.interpolate(images, size=list(size), mode="bilinear", align_corners=False, antialias=True)
            return replace(batch, images=images, targets=resized(batch.targets, (height, width), size))
        return replace(batch, images=images)
