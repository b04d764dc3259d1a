"""A factor a class, so that rare classes are not drowned by common ones (rules: criterions/priors.py)."""

from typing import ClassVar, Literal, Self

import numpy as np
from torch import Tensor

from criterions import priors
from criterions.weighters.weighter import ClassFacts, ClassWeighter, as_buffer


def label_weights(targets: Tensor, weights: Tensor) -> Tensor:
    """Return the mean weight of a sample's labels, (N, 1): that of its class, for one label.

    A sample without any label weighs 1.

    Args:
        targets: (N, C), dense.
        weights: (C,).
    """
    labels = targets.sum(dim=1, keepdim=True)
    # A product of matrices may be rounded to fewer bits on a GPU.
    mean = (targets * weights).sum(dim=1, keepdim=True) / labels.clamp(min=1e-12)
    return mean.where(labels > 0, 1.0)


def balanced_targets(targets: Tensor, weights: Tensor) -> Tensor:
    """Return targets in which every label has the share of its sample's weight that it brings, (N, C): t w / mean of w under t.

    Times the weight of the sample this is t w, a weight of its own for each label, also where label smoothing follows. One-hot
    targets stay as they are, and so does a sample that weighs nothing.

    Args:
        targets: (N, C), one distribution a sample.
        weights: (C,).
    """
    mean = label_weights(targets, weights)
    return (targets * (weights / mean)).where(mean > 0, targets)


class ClassWeights(ClassWeighter):
    """Weighs all terms of a sample by the class of its label; where images share one label each, every label by its own weight.

    Args:
        weights: (C,), at least 0.
        multi_label: whether an image may have several labels. What part of a mixed target stems from which image cannot be told
            then, and its terms are weighed by the mean over its labels.
    """

    SCALE: ClassVar[Literal["moving", "batch", "own"]] = "own"

    weights: Tensor

    def __init__(self, weights: np.ndarray, *, multi_label: bool = False) -> None:
        super().__init__()
        self.register_buffer("weights", as_buffer(weights), persistent=False)
        self.multi_label = multi_label

    @classmethod
    def build(cls, facts: ClassFacts, rule: str = "auto", beta: float = priors.BETA) -> Self:
        """Return the weighter for 'auto', 'sqrt', 'effective' (with `beta`) or a file; the mean weight of a training image is 1."""
        weights = priors.class_weights(rule, classes=facts.names, counts=facts.counts, beta=beta)
        multi_label = not np.allclose(facts.counts, facts.shares, rtol=1e-4, atol=0)
        return cls(weights / priors.mean_weight(weights, facts.shares), multi_label=multi_label)

    def retarget(self, targets: Tensor) -> Tensor:
        return targets if self.multi_label else balanced_targets(targets, self.weights.to(targets.dtype))

    def forward(self, probabilities: Tensor, targets: Tensor, *, hardness: Tensor) -> Tensor:
        del probabilities, hardness
        return label_weights(targets, self.weights.to(targets.dtype))
