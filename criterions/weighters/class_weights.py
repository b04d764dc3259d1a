"""A factor a class, so that rare classes are not drowned by common ones (rules: criterions/priors.py)."""

from typing import ClassVar, Literal, Self

import numpy as np
from torch import Tensor

from criterions import priors
from criterions.weighters.base import ClassFacts, ClassWeighter, as_buffer


def label_weights(targets: Tensor, weights: Tensor) -> Tensor:
    """Return the mean weight of a sample's labels, (N, 1): that of its class, for one label.

    A sample without any label weighs 1.

    Args:
        targets: (N, C), dense.
        weights: (C,).
    """
    labels = targets.sum(dim=1, keepdim=True)
    mean = (targets @ weights[:, None]) / labels.clamp(min=1e-12)
    return mean.where(labels > 0, 1.0)


class ClassWeights(ClassWeighter):
    """Weighs all terms of a sample by the class of its label.

    Args:
        weights: (C,), at least 0.
    """

    SCALE: ClassVar[Literal["moving", "batch", "own"]] = "own"

    weights: Tensor

    def __init__(self, weights: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("weights", as_buffer(weights), persistent=False)

    @classmethod
    def build(cls, facts: ClassFacts, rule: str = "auto", beta: float = priors.BETA) -> Self:
        """Return the weighter for 'auto', 'effective' (with `beta`) or a file; the mean weight of a training label is 1."""
        weights = priors.class_weights(rule, classes=facts.names, counts=facts.counts, beta=beta)
        return cls(weights / priors.mean_weight(weights, facts.counts))

    def forward(self, probabilities: Tensor, targets: Tensor, *, hardness: Tensor) -> Tensor:
        del probabilities, hardness
        return label_weights(targets, self.weights.to(targets.dtype))
