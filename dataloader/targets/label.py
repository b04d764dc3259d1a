"""Targets that say something of the whole image: one label, any number of labels, or nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from dataloader.targets.plane import PlaneChange
from dataloader.targets.target import Target


class _OfWholeImage(Target):
    """A target without a place: no geometry changes it."""

    is_spatial = False

    def moved(self, change: PlaneChange) -> "Target":
        del change
        return self


@dataclass(frozen=True)
class Label(_OfWholeImage):
    """One class. Stacked: int64 (N,)."""

    is_one_class = True
    described = "classes, one an image"
    per_image = "one label"

    index: int

    def nothing(self) -> "Label":
        return Label(0)

    @classmethod
    def class_numbers(cls, row: Any) -> list[int]:
        return [int(row)]

    @classmethod
    def stack(cls, targets: Sequence[Target]) -> Tensor:
        return torch.tensor([cast(Label, target).index for target in targets], dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Labels(_OfWholeImage):
    """One probability a class, float32 (C,): several labels, or a label that is shared. Stacked: float32 (N, C)."""

    described = "labels, any number an image"
    per_image = "any number of labels"

    probabilities: np.ndarray

    def nothing(self) -> "Labels":
        return Labels(np.zeros_like(self.probabilities))

    @classmethod
    def class_numbers(cls, row: Any) -> list[int]:
        return np.flatnonzero(row).tolist()

    @classmethod
    def stack(cls, targets: Sequence[Target]) -> Tensor:
        return torch.from_numpy(np.stack([np.asarray(cast(Labels, target).probabilities, dtype=np.float32) for target in targets]))


@dataclass(frozen=True)
class Unknown(_OfWholeImage):
    """Nothing is known: prediction. Stacked: int64 (N, 0), which no loss takes for a label."""

    def nothing(self) -> "Unknown":
        return self

    @classmethod
    def stack(cls, targets: Sequence[Target]) -> Tensor:
        return torch.empty((len(targets), 0), dtype=torch.int64)
