"""From probabilities to the labels that are answered."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class LabelAnswer(NamedTuple):
    """The answer for one image: probabilities (C,), and whether each class is named, bool (C,)."""

    probabilities: np.ndarray
    named: np.ndarray

    def ranked(self) -> list[int]:
        """Return all classes, the most probable first."""
        return np.argsort(-self.probabilities, kind="stable").tolist()

    def labels(self, reject: Sequence[float] | None) -> list[int]:
        """Return the classes that it names with at least their probability in `reject`, (C,), the most probable first."""
        return [label for label in self.ranked() if self.named[label] and (reject is None or self.probabilities[label] >= reject[label])]


def decide(probabilities: Tensor, thresholds: Sequence[float] | None) -> Tensor:
    """Return what the answers name, bool (N, C): every class that reaches its threshold, or the most probable one.

    Args:
        probabilities: (N, C).
        thresholds: one per class; None where exactly one class is right.
    """
    if thresholds is None:
        return torch.nn.functional.one_hot(probabilities.argmax(1), probabilities.shape[1]).bool()
    return probabilities >= torch.tensor(thresholds, dtype=torch.float64, device=probabilities.device)
