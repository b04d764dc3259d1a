"""Two bounds on each probability: what is already sure, or beyond hope, is left out of the loss."""

from typing import ClassVar, Literal, Self

import numpy as np
from torch import Tensor

from criterions.matrix import read_thresholds
from criterions.weighters.weighter import ClassFacts, ClassWeighter, as_buffer, rows_of

# Bounds that every probability keeps.
BELOW, ABOVE = -1.0, 2.0


def threshold_weights(probabilities: Tensor, targets: Tensor, *, lower: Tensor, upper: Tensor) -> Tensor:
    """Return 1 where L[t] < p < U[t], else 0: (N, C); an image without labels leaves nothing out.

    Args:
        probabilities, targets: (N, C).
        lower, upper: (C, C) bounds; row the true class, column the class of the probability.
    """
    low, high = rows_of(targets, lower, neutral=BELOW), rows_of(targets, upper, neutral=ABOVE)
    return ((low < probabilities) & (probabilities < high)).to(probabilities.dtype)


class Threshold(ClassWeighter):
    """Leaves out terms whose probability is outside its bounds.

    Args:
        lower, upper: (C, C).
    """

    SCALE: ClassVar[Literal["moving", "batch", "own"]] = "own"

    lower: Tensor
    upper: Tensor

    def __init__(self, lower: np.ndarray, upper: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("lower", as_buffer(lower), persistent=False)
        self.register_buffer("upper", as_buffer(upper), persistent=False)

    @classmethod
    def build(cls, facts: ClassFacts, file: str) -> Self:
        """Return the weighter for the bounds in a CSV file."""
        return cls(*read_thresholds(file, facts.names))

    def forward(self, probabilities: Tensor, targets: Tensor, *, hardness: Tensor) -> Tensor:
        del hardness
        dtype = targets.dtype
        return threshold_weights(probabilities, targets, lower=self.lower.to(dtype), upper=self.upper.to(dtype))
