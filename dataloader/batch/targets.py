"""Operations on the targets of a batch: labels as probabilities, masks and boxes in resized images."""

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from dataloader.sample import MASKS, Targets
from dataloader.targets.mask import resized_masks
from dataloader.targets.plane_change import Size
from dataloader.targets.target import Stacked
from utils.errors import UserError


def labels_of(targets: Targets) -> Tensor:
    """Return the targets unchanged if they are labels: class indices (N,) or probabilities (N, C).

    Raises:
        UserError: the targets are boxes, masks or unknown.
    """
    if isinstance(targets, Stacked) or targets.ndim >= MASKS:
        what = targets.described if isinstance(targets, Stacked) else "masks"
        raise UserError(f"the images have {what}, but labels of whole images are needed here")
    if targets.shape[1:] == (0,):
        raise UserError("these images have no targets, but labels are needed here")
    return targets


def to_dense(targets: Targets, num_classes: int) -> Tensor:
    """Return one probability per class, float32 (N, num_classes), from class indices (N,) or from probabilities (N, num_classes).

    Raises:
        UserError: the probabilities have another number of classes, or the targets are not labels of whole images.
    """
    targets = labels_of(targets)
    if targets.ndim == 1:
        return F.one_hot(targets, num_classes).float()
    if targets.shape[1] != num_classes:
        raise UserError(f"targets have {targets.shape[1]} classes, not {num_classes}")
    return targets.float()


def dense_array(targets: np.ndarray, num_classes: int) -> np.ndarray:
    """Return one number per class, float32 (N, num_classes), from class indices (N,) of a split, or from its dense targets as they are."""
    return targets if targets.ndim == 2 else np.eye(num_classes, dtype=np.float32)[targets]


def resized(targets: Targets, before: Size, after: Size) -> Targets:
    """Return the targets of images that were resized from (H, W) `before` to `after`, on their device; labels stay as they are."""
    if isinstance(targets, Stacked):
        return targets.resized(before, after)
    return targets if targets.ndim < MASKS else resized_masks(targets, before, after)
