"""Learned position embeddings on a grid of patches, brought to the grid of other image sizes."""

import math

import torch
from torch import Tensor


def resize_positions(positions: Tensor, grid: tuple[int, int], *, wanted: tuple[int, int]) -> Tensor:
    """Resample position embeddings (1, h x w, C) of a grid (h, w) to another grid, bicubic and antialiased.

    It is a product with two constant matrices, so every exported format holds it, and its gradient is the same at every call.
    """
    if grid == wanted:
        return positions
    rows = bicubic_matrix(grid[0], wanted[0]).to(positions)
    columns = bicubic_matrix(grid[1], wanted[1]).to(positions)
    width = positions.shape[-1]
    # Products of 16 bits would blur the embeddings.
    with torch.autocast(positions.device.type, enabled=False):
        # (W', w) x (h, w, C) -> (h, W', C), then (H', h) x (h, W' C) -> (H', W' C).
        wide = torch.matmul(columns, positions.reshape(*grid, width))
        return torch.matmul(rows, wide.flatten(1)).reshape(1, wanted[0] * wanted[1], width)


def bicubic_matrix(size: int, wanted: int) -> Tensor:
    """The matrix (wanted, size) that resamples a line of numbers by Keys' cubic kernel, widened where the line shrinks.

    Each row sums to 1; at the border the kernel is cut. torch.nn.functional.interpolate calls it bicubic with antialias.
    """
    scale = size / wanted
    stretch = max(scale, 1.0)
    support = 2.0 * stretch
    matrix = [[0.0] * size for _ in range(wanted)]
    for row in range(wanted):
        center = scale * (row + 0.5)
        first = max(int(center - support + 0.5), 0)
        last = min(int(center + support + 0.5), size)
        weights = [_keys((index - center + 0.5) / stretch) for index in range(first, last)]
        total = sum(weights)
        matrix[row][first:last] = [weight / total for weight in weights]
    return torch.tensor(matrix, dtype=torch.float64, device="cpu")


def _keys(x: float, a: float = -0.5) -> float:
    """Keys' cubic convolution kernel (1981)."""
    x = abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    if x < 2:
        return (((x - 5) * x + 8) * x - 4) * a
    return 0.0


def resized_in_file(given: Tensor, *, prefix: int, grid: tuple[int, int]) -> Tensor:
    """Position embeddings (1, tokens, C) of a file, brought to this grid; the first `prefix` tokens stand for no patch.

    Those of a file are for a square of patches.
    """
    patches = given.shape[1] - prefix
    side = math.isqrt(patches)
    if patches == grid[0] * grid[1] or side * side != patches:
        return given
    return torch.cat([given[:, :prefix], resize_positions(given[:, prefix:], (side, side), wanted=grid)], dim=1)
