"""From logits at the size of the network to the mask of the original image."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dataloader.targets.plane_change import PlaneChange

# Numbers that are held at once: a band of rows of a large image, in all classes.
BAND = 2**24


class Band(NamedTuple):
    """Some rows of an image.

    Attributes:
        rows: which.
        logits: (C, h, W).
    """

    rows: slice
    logits: Tensor


def bands_of(logits: Tensor, back: PlaneChange) -> Iterator[Band]:
    """Yield the logits of an image at the positions of its original pixels, bilinear, a band of rows after the other.

    So a large image of many classes never lies in memory as logits. The padded border is left behind.

    Args:
        logits: (C, h, w), of what the network saw.
        back: from there to the original image.
    """
    height, width = back.size
    classes, h, w = logits.shape
    # Where each original pixel lies in what the network saw, then as grid_sample counts: from -1 to 1, edge to edge.
    way = np.diag([2 / w, 2 / h, 1.0]) @ np.linalg.inv(back.matrix)
    way[:2, 2] -= 1
    columns = torch.arange(width, device=logits.device, dtype=torch.float64) + 0.5
    step = max(1, BAND // (classes * width))
    for top in range(0, height, step):
        rows = torch.arange(top, min(top + step, height), device=logits.device, dtype=torch.float64) + 0.5
        x, y = columns[None, :], rows[:, None]
        grid = torch.stack([way[0, 0] * x + way[0, 1] * y + way[0, 2], way[1, 0] * x + way[1, 1] * y + way[1, 2]], dim=-1)
        found = F.grid_sample(logits[None], grid[None].to(logits.dtype), mode="bilinear", padding_mode="border", align_corners=False)
        yield Band(slice(top, top + len(rows)), found[0])


def mask_of(logits: Tensor, back: PlaneChange) -> np.ndarray:
    """Return the most probable class of every pixel of the original image, uint8 (H, W)."""
    mask = np.empty(back.size, np.uint8)
    for band in bands_of(logits, back):
        mask[band.rows] = band.logits.argmax(0).to(torch.uint8).cpu().numpy()
    return mask
