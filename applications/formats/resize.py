"""`fit_images` as a graph: the same pixels, bit for bit, by operators that every runtime has.

The integer kernel of torch (bilinear, antialiased, uint8) is no operator of ONNX or OpenVINO, whose own resizing rounds
otherwise. Here it is two products of matrices. The weights of the kernel, whole numbers of 16 bits, are found in the graph from the
size of the image: first as quotients in float32, then corrected by their remainder, so that no rounding of a runtime matters.
A weight is split into two halves of 8 bits, so that every sum is a whole number below 2^24, which float32 holds exactly in any order
of adding. There are no branches, so that one graph serves every size.

The kernel: ATen/native/cpu/UpSampleKernel.cpp, after Pillow's Resample.c.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# Neighboring outputs that share one window of inputs: more make the products larger, fewer the windows.
BLOCK = 8
# Weights are below it: 16 bits with a sign.
WEIGHT_LIMIT = 1 << 15
# Digits of the exact arithmetic: halves of weights, and of their sums.
HALF_WEIGHT = 2**8
HALF_TOTAL = 2**11

# What torch.export makes of a size: an int, or a symbol of one.
Size = Any


class Axis(NamedTuple):
    """One axis of a resizing.

    Attributes:
        length: of the image.
        kept: of its part that is resized, from the center.
        target: what that becomes.
        out: length of the result, in whose center it lies.
    """

    length: Size
    kept: Size
    target: Size
    out: int

    def window(self) -> Size:
        """Return how many inputs a block of outputs reaches, with some to spare for rounding."""
        return ((BLOCK - 1) * self.kept) // self.target + 2 * (self.kept // self.target + 1) + 4


class Weights(NamedTuple):
    """The kernel along one axis, for blocks of outputs.

    Attributes:
        first: where the window of each block begins, int64 (blocks,).
        high, low: weights = 256 high + low, whole numbers as float32 (blocks, BLOCK, window).
        scale: what the weights of an output sum up to, a power of two.
    """

    first: Tensor
    high: Tensor
    low: Tensor
    scale: Tensor


class GraphResize(nn.Module):
    """`fit_images` for torch.export: uint8 (N, C, h, w) of any size -> whole numbers 0..255 as float32 (N, C, height, width)."""

    def __init__(self, height: int, width: int, resize: str) -> None:
        super().__init__()
        assert resize in ("fit", "crop", "stretch"), "Preprocess takes no other"
        self.height = height
        self.width = width
        self.resize = resize

    def forward(self, images: Tensor) -> Tensor:
        n, bands, h, w = images.shape
        down, across = self._axes(h, w)
        # The axis that is resized comes second: taking windows then moves whole rows of memory.
        x = resized(images.permute(0, 3, 1, 2).reshape(n, w, bands * h), across)
        x = x.reshape(n, self.width * bands, h).permute(0, 2, 1)
        x = resized(x, down)
        return x.reshape(n, self.height, self.width, bands).permute(0, 3, 1, 2)

    def _axes(self, h: Size, w: Size) -> tuple[Axis, Axis]:
        """Return both axes for images of this size, by the arithmetic of `fit_images` without its branches."""
        height, width = self.height, self.width
        if self.resize == "fit":
            new_h = torch.sym_min(height, torch.sym_max(1, (2 * h * width + w) // (2 * w)))
            new_w = torch.sym_min(width, torch.sym_max(1, (2 * w * height + h) // (2 * h)))
            return Axis(h, h, new_h, height), Axis(w, w, new_w, width)
        if self.resize == "crop":
            keep_w = torch.sym_min(w, torch.sym_max(1, (2 * h * width + height) // (2 * height)))
            keep_h = torch.sym_min(h, torch.sym_max(1, (2 * w * height + width) // (2 * width)))
            return Axis(h, keep_h, height, height), Axis(w, keep_w, width, width)
        return Axis(h, h, height, height), Axis(w, w, width, width)


def resized(x: Tensor, axis: Axis) -> Tensor:
    """Resize along the second axis: whole numbers 0..255 (N, length, M) -> float32 (N, out, M)."""
    window = axis.window()
    weights = kernel(axis, window)
    offset = (_number(axis.length) - _number(axis.kept)) // 2
    index = torch.minimum(weights.first[:, None] + torch.arange(window), _number(axis.kept) - 1) + offset
    blocks = index.shape[0]
    taken = x.index_select(1, index.flatten()).float().reshape(x.shape[0], blocks, window, x.shape[2])
    sums = torch.matmul(torch.cat([weights.high, weights.low], 1), taken)
    high, low = sums[:, :, :BLOCK], sums[:, :, BLOCK:]
    # (256 high + low + scale / 2) // scale, in whole numbers below 2^24.
    carried = high + torch.floor((low + weights.scale / 2) / HALF_WEIGHT)
    values = torch.floor(carried * (HALF_WEIGHT / weights.scale)).clamp(0, 255)
    return values.reshape(x.shape[0], blocks * BLOCK, x.shape[2])[:, : axis.out]


def kernel(axis: Axis, window: Size) -> Weights:
    """Return the weights of the integer kernel; outputs beside the resized part have none, and become black."""
    source, target = _number(axis.kept), _number(axis.target)
    blocks = -(-axis.out // BLOCK)
    place = torch.arange(blocks * BLOCK).view(blocks, BLOCK) - (axis.out - target) // 2
    ratio = source.float() / target.float()
    # Any place that is early enough will do: what lies outside of the kernel gets no weight.
    first = torch.floor((place[:, :1].float() + 0.5) * ratio - ratio.clamp(min=1.0) - 1)
    first = torch.minimum(first.clamp(min=0.0), source.float() - 1).to(torch.int64)
    # Distances from the center of the kernel, in whole numbers: 2 x target steps a pixel.
    taps = torch.arange(window)
    nearest = ((2 * first + 1) * target - source * (2 * place + 1)).float()
    distance = (nearest[:, :, None] + (2 * target * taps).float()).abs()
    inside = (first[:, :, None] + taps < source) & ((place >= 0) & (place < target))[:, :, None]
    heights = ((2 * torch.maximum(source, target)).float() - distance).clamp(min=0.0) * inside.float()
    totals = heights.sum(2, keepdim=True).clamp(min=1.0)
    shares = heights / totals
    powers = torch.tensor([float(2**bits) for bits in range(1, 23)])
    fits = torch.floor(shares.max() * powers + 0.5) < WEIGHT_LIMIT
    scale = torch.where(fits, powers, torch.ones_like(powers)).max()
    weights = exact_quotients(heights, totals, scale, torch.floor(shares * scale + 0.5))
    high = torch.floor((weights + HALF_WEIGHT / 2) / HALF_WEIGHT)
    return Weights(first[:, 0], high, weights - HALF_WEIGHT * high, scale)


def exact_quotients(heights: Tensor, totals: Tensor, scale: Tensor, guess: Tensor) -> Tensor:
    """Return round(heights x scale / totals), given a guess that is at most one off; all are whole numbers in float32.

    The remainder heights x scale - guess x totals is added up from products of halves, the largest first: each term is a whole
    number times a power of two with at most 24 bits, and so is every partial sum.
    """
    upper = torch.floor(guess / HALF_WEIGHT)
    lower = guess - HALF_WEIGHT * upper
    high = torch.floor(totals / HALF_TOTAL)
    low = totals - HALF_TOTAL * high
    rest = heights * (scale / (HALF_WEIGHT * HALF_TOTAL)) - upper * high
    rest = rest * HALF_WEIGHT - lower * high
    rest = rest * (HALF_TOTAL / HALF_WEIGHT) - upper * low
    rest = rest * HALF_WEIGHT - lower * low
    return guess + (2 * rest >= totals).float() - (2 * rest < -totals).float()


def _number(size: Size) -> Tensor:
    return torch.full((), size, dtype=torch.int64)
