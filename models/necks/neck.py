"""The contract of every neck, and what several of them share: sizes that follow the larger or the smaller map."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from models.backbone import FeatureInfo
from utils.errors import UserError


class Neck(nn.Module, ABC):
    """Maps in, maps out: (N, C, h, w) each, the largest first; `feature_info` says what comes out.

    A neck can be scripted, traced and exported, and takes maps of odd sizes, as backbones give them for any image.
    """

    # What comes out is known before it runs; TorchScript need not know it.
    __jit_ignored_attributes__ = ("feature_info",)
    feature_info: list[FeatureInfo]

    @abstractmethod
    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Return the joined maps for those of the backbone that the neck was built for."""


class Chain(Neck):
    """Necks one after the other."""

    def __init__(self, necks: Sequence[Neck]) -> None:
        super().__init__()
        self.necks = nn.ModuleList(necks)
        self.feature_info = necks[-1].feature_info

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        for neck in self.necks:
            maps = neck(maps)
        return maps


def halving(info: Sequence[FeatureInfo], *, neck: str) -> list[FeatureInfo]:
    """Return the maps as a list, which must be two or more, each half as large as the one before it.

    Raises:
        UserError: they are not, as those of most vision transformers.
    """
    strides = [each.stride for each in info]
    if len(strides) < 2 or any(2 * first != second for first, second in pairwise(strides)):
        raise UserError(f"{neck} joins two or more maps, each half as large as the one before; these have the strides {strides}")
    return list(info)


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    """Repeat pixels of x (N, C, h, w) until it has the height and width of `like`."""
    return F.interpolate(x, size=like.shape[-2:], mode="nearest")


def halved(x: Tensor, like: Tensor) -> Tensor:
    """Take the largest of 3x3 pixels at every second place of x (N, C, h, w), cut to the height and width of `like`."""
    return cut(F.max_pool2d(x, 3, 2, 1), like)


def cut(x: Tensor, like: Tensor) -> Tensor:
    """Drop the last row or column of a halved map where a backbone rounds odd sizes down."""
    return x[:, :, : like.shape[-2], : like.shape[-1]]


def same_width(info: Sequence[FeatureInfo], channels: int) -> list[FeatureInfo]:
    """Return the maps with this many channels each."""
    return [FeatureInfo(channels, each.stride) for each in info]
