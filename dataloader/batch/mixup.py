"""Blend pairs of images and their targets (Zhang et al.: mixup, Beyond Empirical Risk Minimization, arXiv 1710.09412)."""

from typing import ClassVar

import numpy as np
from torch import Tensor

from dataloader.batch.mix import Mix, blend


class Mixup(Mix):
    """Every sample is blended with another one; its index stays that of the first partner."""

    NAME: ClassVar[str] = "mixup"

    def joined(self, images: Tensor, rng: np.random.Generator, *, copied: bool) -> tuple[Tensor, Tensor, float]:
        del copied
        share = float(rng.beta(self.alpha, self.alpha))
        partners = self.partners(images, rng)
        return blend(images, partners, share), partners, share
