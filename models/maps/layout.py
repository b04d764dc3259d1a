"""Maps out of the tensors that foreign networks carry, and the way back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layout:
    """How a network carries its features: NCHW, NHWC, or tokens NLC of which the first `prefix` are no pixels."""

    kind: Literal["NCHW", "NHWC", "NLC"]
    prefix: int = 0


class FeatureMaps(list[Tensor]):
    """Maps (N, C, h, w), with what it takes to turn the last one into the network's own tensor again."""

    def __init__(self, maps: list[Tensor], layout: Layout, prefix: Tensor | None) -> None:
        super().__init__(maps)
        self.layout = layout
        self.prefix = prefix


def to_map(features: Tensor, layout: Layout, *, grid: tuple[int, int] | None = None) -> Tensor:
    """The pixels of `features` as (N, C, h, w). `grid` is (h, w) of tokens; None for a square."""
    if layout.kind == "NCHW":
        return features
    if layout.kind == "NHWC":
        return features.permute(0, 3, 1, 2)
    tokens = features[:, layout.prefix :]
    side = math.isqrt(tokens.shape[1])
    h, w = grid or (side, side)
    assert h * w == tokens.shape[1]
    return tokens.transpose(1, 2).unflatten(2, (h, w))


def with_last(maps: list[Tensor], features: Tensor, *, layout: Layout, grid: tuple[int, int] | None = None) -> FeatureMaps:
    """Append `features` as the last map, keeping its prefix tokens beside it."""
    prefix = features[:, : layout.prefix] if layout.prefix else None
    return FeatureMaps([*maps, to_map(features, layout, grid=grid)], layout, prefix)


def stride_of(size: int, side: int) -> int:
    """Input pixels for one pixel of a map; unpadded convolutions lose a border, so else the nearest power of 2."""
    return size // side if size % side == 0 else 2 ** round(math.log2(size / side))


def own_tensor(maps: list[Tensor]) -> Tensor:
    """The tensor that the last map was made of; a plain list holds the network's own maps."""
    last = maps[-1]
    if not isinstance(maps, FeatureMaps) or maps.layout.kind == "NCHW":
        return last
    if maps.layout.kind == "NHWC":
        return last.permute(0, 2, 3, 1)
    tokens = last.flatten(2).transpose(1, 2)
    return tokens if maps.prefix is None else torch.cat([maps.prefix, tokens], dim=1)


def tokens_of(maps: list[Tensor], *, prefix: int) -> Tensor:
    """The tokens (N, prefix + h w, C) that the last map was made of; a plain list of maps will do where there is no prefix.

    Raises:
        ValueError: the class tokens are missing.
    """
    if isinstance(maps, FeatureMaps):
        return own_tensor(maps)
    if prefix:
        raise ValueError("class tokens lie beside the maps: hand on what forward_features gave")
    return maps[-1].flatten(2).transpose(1, 2)


def tap_blocks(blocks: Sequence[nn.Module] | nn.Sequential, x: Tensor, *, parts: int) -> list[Tensor]:
    """Let x pass through all blocks; return what comes out after each of `parts` equal shares of them."""
    ends = [len(blocks) * part // parts for part in range(1, parts + 1)]
    found = []
    for count, block in enumerate(blocks, start=1):
        x = block(x)
        if count in ends:
            found.append(x)
    return found
