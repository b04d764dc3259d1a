"""Put a rectangle of one image into another, and share the targets by area (Yun et al.: CutMix, arXiv 1905.04899)."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from dataloader.batch.mix import Mix, Pairs


def draw_rectangle(height: int, width: int, share: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of a rectangle around a random center: 1 - share of the area, clipped at the border."""
    side = float(np.sqrt(1 - share)) / 2
    row, column = rng.random() * height, rng.random() * width
    top, bottom = (int(np.clip(round(row + sign * side * height), 0, height)) for sign in (-1, 1))
    left, right = (int(np.clip(round(column + sign * side * width), 0, width)) for sign in (-1, 1))
    return top, bottom, left, right


def draw_rectangles(height: int, width: int, shares: np.ndarray, draws: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return top, bottom, left and right of a rectangle for each sample, int64 (N, 4), as `draw_rectangle` does for one.

    Args:
        height, width: of the images.
        shares: that stay, (N,).
        draws: number of the draw of each sample, in 0..N-1, (N,); samples with equal numbers have equal centers.
    """
    sides, centers = np.sqrt(1 - shares) / 2, rng.random((len(shares), 2))[draws]
    borders = [centers[:, axis] * size + sign * sides * size for axis, size in ((0, height), (1, width)) for sign in (-1, 1)]
    most = (height, height, width, width)
    return np.stack([np.clip(np.rint(border), 0, size) for border, size in zip(borders, most, strict=True)], axis=1).astype(np.int64)


class CutMix(Mix):
    """Every sample gets a rectangle of another one, and keeps its index.

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

    def joined_each(self, images: Tensor, pairs: Pairs, shares: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        height, width = images.shape[2:]
        places = draw_rectangles(height, width, shares, pairs.draws, rng)
        top, bottom, left, right = torch.from_numpy(places).to(images.device).T[..., None]
        rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
        inside = ((rows >= top) & (rows < bottom))[:, None, :, None] & ((columns >= left) & (columns < right))[:, None, None]
        area = (places[:, 1] - places[:, 0]) * (places[:, 3] - places[:, 2])
        partners = torch.from_numpy(pairs.partners).to(images.device)
        return torch.where(inside, images[partners], images), torch.from_numpy(1 - area / (height * width)).to(images)
