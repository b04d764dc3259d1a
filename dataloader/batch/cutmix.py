"""Put a rectangle of one image into another, and share the targets by area (Yun et al.: CutMix, arXiv 1905.04899)."""

from typing import ClassVar

import numpy as np
from torch import Tensor

from dataloader.batch.mix import Mix


def draw_rectangle(height: int, width: int, share: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of a rectangle around a random center, of 1 - share of the area before it is cut at the border."""
    side = float(np.sqrt(1 - share)) / 2
    row, column = rng.random() * height, rng.random() * width
    top, bottom = (int(np.clip(round(row + sign * side * height), 0, height)) for sign in (-1, 1))
    left, right = (int(np.clip(round(column + sign * side * width), 0, width)) for sign in (-1, 1))
    return top, bottom, left, right


class CutMix(Mix):
    """Every sample gets a rectangle of another one, the same for the batch; the larger picture's index stays.

    Targets and sample weights are shared by the area that each image has in the end.
    """

    NAME: ClassVar[str] = "cutmix"

    def joined(self, images: Tensor, rng: np.random.Generator, *, copied: bool) -> tuple[Tensor, Tensor, float]:
        height, width = images.shape[2:]
        top, bottom, left, right = draw_rectangle(height, width, float(rng.beta(self.alpha, self.alpha)), rng)
        share = 1 - (bottom - top) * (right - left) / (height * width)
        partners = self.partners(images, rng)
        patches = images[partners, :, top:bottom, left:right]
        images = images if copied else images.clone()
        images[:, :, top:bottom, left:right] = patches
        return images, partners, share
