"""What of an image a box hangs on: parts of the image are hidden at random, and what is seen while the box is still found is warm.

Petsiuk et al.: Black-box Explanation of Object Detectors via Saliency Maps (CVPR 2021, arXiv 2006.03204); the masks are those of RISE
(arXiv 1806.07421).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from criterions.detection.assignment import overlaps
from utils.randomness import Stream, torch_generator

# Masks of an image, squares of a mask in a row, and the share of them that is seen.
MASKS, GRID, SEEN = 1000, 16, 0.5
BATCH = 25


class Asked(NamedTuple):
    """Boxes to be explained: left, top, right, bottom in pixels of what the network sees, (T, 4), and their classes, (T,)."""

    corners: Tensor
    classes: Tensor


def d_rise(
    say: Callable[[Tensor], Tensor], image: Tensor, hidden: Tensor, asked: Asked, *, masks: int = MASKS, seed: int = 0
) -> np.ndarray:
    """Return how much each pixel speaks for each box, float32 (T, H, W) from 0 to 1.

    The mean of the masks, weighted by how like the box is found behind each; less the mean without weights, which is what chance gives
    every pixel, and 0 where nothing is left.

    Args:
        say: images in 0..255, float (N, bands, H, W) -> corners, objectness and probabilities of the classes, (N, A, 5 + C).
        image: uint8 (bands, H, W).
        hidden: the color, (bands,), of what a mask hides.
        asked: the boxes.
        masks: how many.
        seed: the same seed gives the same masks.
    """
    height, width = image.shape[1:]
    background, heat = hidden.float()[:, None, None], torch.zeros(len(asked.classes), height, width)
    found, shown = torch.zeros(len(asked.classes)), torch.zeros(height, width)
    for number, start in enumerate(range(0, masks, BATCH)):
        seen = random_masks(min(BATCH, masks - start), (height, width), torch_generator(Stream.EXPLAIN, seed, number))
        weights = likeness(say(background + (image - background) * seen).cpu(), asked)
        heat += torch.einsum("nt,nhw->thw", weights, seen[:, 0])
        found, shown = found + weights.sum(0), shown + seen[:, 0].sum(0)
    heat = (heat - found[:, None, None] * shown / masks).clamp(min=0)
    return (heat / heat.amax((1, 2), keepdim=True).clamp(min=1e-12)).numpy()


def random_masks(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Return masks, float32 (count, 1, H, W) from 0 to 1: squares that are seen or hidden, with smooth edges, moved by chance."""
    (height, width), (high, wide) = size, (-(-size[0] // GRID), -(-size[1] // GRID))
    squares = (torch.rand(count, 1, GRID, GRID, generator=generator) < SEEN).float()
    large = F.interpolate(squares, size=((GRID + 1) * high, (GRID + 1) * wide), mode="bilinear", align_corners=False)
    tops = torch.randint(high, (count,), generator=generator).tolist()
    lefts = torch.randint(wide, (count,), generator=generator).tolist()
    moved = [each[:, top : top + height, left : left + width] for each, top, left in zip(large, tops, lefts, strict=True)]
    return torch.stack(moved)


def likeness(said: Tensor, asked: Asked) -> Tensor:
    """Return how much the likest of all places says the same as each box: overlap x likeness of classes x objectness, (N, T).

    Args:
        said: (N, A, 5 + C).
        asked: the boxes, whose class is certain.
    """
    objectness, classes = said[..., 4:5], said[..., 5:]
    alike = classes[..., asked.classes] / classes.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return (overlaps(said[:, :, None, :4], asked.corners) * alike * objectness).amax(1)
