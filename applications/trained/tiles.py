"""Looks at a large image in overlapping tiles, and joins the logits; of them, a strip at a time is in memory."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from applications.tasks.mask_answers import Band

# Share of a tile that the next one sees, too: near its border a network lacks what surrounds it.
OVERLAP = 0.25


def tile_starts(length: int, tile: int) -> list[int]:
    """Return where tiles begin that cover a length: evenly spaced, each over OVERLAP of its neighbor or more; [0] where one suffices."""
    if length <= tile:
        return [0]
    step = max(1, int(tile * (1 - OVERLAP)))
    count = -(-(length - tile) // step) + 1
    return np.linspace(0, length - tile, count).round().astype(int).tolist()


def ramp(tile: int) -> Tensor:
    """Return how much the places of a tile count, (tile,): fully in the middle, less towards its ends."""
    place = torch.arange(tile) + 0.5
    return (torch.minimum(place, tile - place) / max(1.0, OVERLAP * tile)).clamp(max=1.0)


def tile_bands(look: Callable[[Tensor], Tensor], image: np.ndarray, tile: tuple[int, int], batch: int) -> Iterator[Band]:
    """Yield the logits of an image by rows, from the top: means over the tiles that see a pixel, weighted by `ramp`.

    Args:
        look: uint8 (N, 3, H, W) of the size of a tile -> logits (N, C, H, W).
        image: uint8 (h, w, 3); one smaller than a tile is padded with black, as in training.
        tile: (H, W).
        batch: tiles that are looked at together.
    """
    height, width = image.shape[:2]
    high, wide = tile
    padded = np.pad(image, ((0, max(0, high - height)), (0, max(0, wide - width)), (0, 0)))
    pixels = torch.from_numpy(np.ascontiguousarray(padded)).permute(2, 0, 1)
    weight = ramp(high)[:, None] * ramp(wide)[None, :]
    tops, lefts = tile_starts(height, high), tile_starts(width, wide)
    sums = weights = torch.empty(0)
    for number, top in enumerate(tops):
        strip = _strip(look, pixels[:, top : top + high], lefts, weight, batch)
        if number:
            # What the strip above has seen of these rows.
            kept = sums.shape[1]
            strip[0][:, :kept] += sums
            strip[1][:kept] += weights
        end = tops[number + 1] if number + 1 < len(tops) else top + high
        done = end - top
        found = strip[0][:, :done] / strip[1][:done]
        rows = slice(top, min(end, height))
        yield Band(rows, found[:, : rows.stop - rows.start, :width])
        sums, weights = strip[0][:, done:], strip[1][done:]


def _strip(look: Callable[[Tensor], Tensor], pixels: Tensor, lefts: list[int], weight: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Return the weighted sums of logits, (C, H, W), and of weights, (H, W), of a row of tiles."""
    high, wide = weight.shape
    sums: Tensor | None = None
    weights = torch.zeros(high, pixels.shape[2])
    for start in range(0, len(lefts), batch):
        chosen = lefts[start : start + batch]
        logits = look(torch.stack([pixels[:, :, left : left + wide] for left in chosen]))
        sums = torch.zeros(logits.shape[1], high, pixels.shape[2], device=logits.device) if sums is None else sums
        for left, each in zip(chosen, logits, strict=True):
            sums[:, :, left : left + wide] += each * weight.to(each.device)
            weights[:, left : left + wide] += weight
    assert sums is not None
    return sums, weights.to(sums.device)
