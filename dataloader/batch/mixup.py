"""Blend pairs of images and their targets (Zhang et al.: mixup, Beyond Empirical Risk Minimization, arXiv 1710.09412)."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from dataloader.batch.mix import Mix, Pairs, blend


class Mixup(Mix):
    """Every sample is blended with another one; its index stays that of the first partner."""

    NAME: ClassVar[str] = "mixup"

    def joined(self, images: Tensor, rng: np.random.Generator, *, copied: bool) -> tuple[Tensor, Tensor, float]:
        del copied
        share = float(rng.beta(self.alpha, self.alpha))
        partners = self.partners(images, rng)
        return blend(images, partners, share), partners, share

    def joined_each(self, images: Tensor, pairs: Pairs, shares: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        del rng
        share = torch.from_numpy(shares).to(images)
        return blend(images, torch.from_numpy(pairs.partners).to(images.device), share), share
