"""The target of images of which nothing is known."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dataloader.targets.of_whole_image import OfWholeImage
from dataloader.targets.target import Target


@dataclass(frozen=True)
class Unknown(OfWholeImage):
    """The target is unknown, as in prediction. Stacked: int64 (N, 0), which no loss accepts."""

    def nothing(self) -> "Unknown":
        return self

    @classmethod
    def stack(cls, targets: Sequence[Target]) -> Tensor:
        return torch.empty((len(targets), 0), dtype=torch.int64)
