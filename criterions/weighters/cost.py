"""Costs of mistakes: W[true, other] says what it costs to take one class for another."""

from typing import Self

import numpy as np
from torch import Tensor

from criterions.matrix import read_cost
from criterions.weighters.weighter import ClassFacts, ClassWeighter, as_buffer, rows_of


def cost_weights(targets: Tensor, costs: Tensor) -> Tensor:
    """Return W[t], (N, C): for every class, what probability given to it costs under this target (see `rows_of`).

    With softmax only classes with a target above zero have a term, so that of a one-hot target
    only W[true, true] counts; `risk_weights` is the way to let the others count.

    Args:
        targets: (N, C), dense.
        costs: (C, C).
    """
    return rows_of(targets, costs, neutral=1.0)


def risk_weights(probabilities: Tensor, targets: Tensor, costs: Tensor) -> Tensor:
    """Return the mean cost of the present answer, (N, 1): the sum over classes of p W[t] / sum of p.

    Args:
        probabilities, targets: (N, C).
        costs: (C, C).
    """
    total = probabilities.sum(dim=1, keepdim=True).clamp(min=1e-12)
    return (probabilities * cost_weights(targets, costs)).sum(dim=1, keepdim=True) / total


class CostMatrix(ClassWeighter):
    """Holds the matrix.

    Args:
        costs: (C, C), row the true class, column the class it is mistaken for, at least 0.
    """

    costs: Tensor

    def __init__(self, costs: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("costs", as_buffer(costs), persistent=False)

    @classmethod
    def build(cls, facts: ClassFacts, file: str) -> Self:
        """Return the weighter for the matrix in a CSV file."""
        return cls(read_cost(file, facts.names))


class Cost(CostMatrix):
    """Weighs each class's term by the cost of giving it probability."""

    def forward(self, probabilities: Tensor, targets: Tensor, *, hardness: Tensor) -> Tensor:
        del probabilities, hardness
        return cost_weights(targets, self.costs.to(targets.dtype))


class Risk(CostMatrix):
    """Weighs a sample by the cost that its present answer is expected to have."""

    def forward(self, probabilities: Tensor, targets: Tensor, *, hardness: Tensor) -> Tensor:
        del hardness
        return risk_weights(probabilities, targets, self.costs.to(targets.dtype))
