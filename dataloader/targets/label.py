"""Labels of whole images: one, or one number per label."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from dataloader.targets.of_whole_image import OfWholeImage
from dataloader.targets.target import Target
from utils.errors import UserError


@dataclass(frozen=True)
class Label(OfWholeImage):
    """One class. Stacked: int64 (N,)."""

    is_one_class = True
    described = "classes, one per image"
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
class Labels(OfWholeImage):
    """One probability per class, float32 (C,): several labels, or a soft label.

    Stacked: float32 (N, C); a `Label` in the same batch becomes a one-hot row.
    """

    described = "labels, several per image"
    per_image = "several labels"

    probabilities: np.ndarray

    def nothing(self) -> "Labels":
        return Labels(np.zeros_like(self.probabilities))

    @classmethod
    def class_numbers(cls, row: Any) -> list[int]:
        return np.flatnonzero(row).tolist()

    @classmethod
    def stack(cls, targets: Sequence[Target]) -> Tensor:
        rows = [target.probabilities if isinstance(target, Labels) else cast(Label, target).index for target in targets]
        shapes = {row.shape for row in rows if isinstance(row, np.ndarray)}
        shape = next(iter(shapes))
        highest = max((row for row in rows if not isinstance(row, np.ndarray)), default=0)
        if len(shapes) > 1 or len(shape) != 1 or highest >= shape[0]:
            found = ", ".join(sorted(str(each) for each in shapes))
            raise UserError(f"targets of the shapes {found} in one batch: give each image a Label, or Labels with one number per class")
        dense = np.zeros((len(rows), shape[0]), dtype=np.float32)
        for place, row in zip(dense, rows, strict=True):
            if isinstance(row, np.ndarray):
                place[:] = row
            else:
                place[row] = 1.0
        return torch.from_numpy(dense)
