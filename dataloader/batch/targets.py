"""Targets as probabilities."""

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from utils.errors import UserError


def to_dense(targets: Tensor, num_classes: int) -> Tensor:
    """Return one probability a class, float32 (N, num_classes), from class indices (N,) or from probabilities (N, num_classes).

    Raises:
        UserError: the probabilities have another number of classes.
    """
    if targets.ndim == 1:
        return F.one_hot(targets, num_classes).float()
    if targets.shape[1] != num_classes:
        raise UserError(f"targets have {targets.shape[1]} classes, not {num_classes}")
    return targets.float()


def dense_array(targets: np.ndarray, num_classes: int) -> np.ndarray:
    """Return one number a class, float32 (N, num_classes), from class indices (N,) of a split, or from its dense targets as they are."""
    return targets if targets.ndim == 2 else np.eye(num_classes, dtype=np.float32)[targets]
