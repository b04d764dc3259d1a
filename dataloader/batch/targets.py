"""Operations on the targets of a batch: labels as probabilities, masks and boxes in resized images."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dataloader.sample import MASKS, Targets
from dataloader.targets.boxes import BoxBatch
from dataloader.targets.defect import DefectBatch
from dataloader.targets.plane_change import Size
from dataloader.targets.whole_mask import WholeMasks
from utils.errors import UserError


def labels_of(targets: Targets) -> Tensor:
    """Return the targets unchanged if they are labels: class indices (N,) or probabilities (N, C).

    Raises:
        UserError: the targets are boxes, masks or unknown.
    """
    if isinstance(targets, BoxBatch | DefectBatch | WholeMasks) or targets.ndim >= MASKS:
        what = "boxes" if isinstance(targets, BoxBatch) else "masks"
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
    """Return the targets of images that were resized from (H, W) `before` to `after`, on their device; labels stay as they are.

    A pixel of a mask gets the class that lies under its center.
    """
    if isinstance(targets, BoxBatch):
        (high, wide), (height, width) = before, after
        factors = torch.tensor([width / wide, height / high] * 2, device=targets.corners.device)
        areas = targets.areas * float(width / wide * height / high)
        return BoxBatch(targets.corners * factors, targets.classes, targets.counts, targets.crowd, areas)
    if isinstance(targets, DefectBatch):
        masks = resized(targets.masks, before, after)
        assert isinstance(masks, Tensor)
        return replace(targets, masks=masks)
    if isinstance(targets, WholeMasks) or targets.ndim < MASKS:
        return targets
    rows, columns = (_nearest(old, new, targets.device) for old, new in zip(before, after, strict=True))
    return targets[:, rows][:, :, columns]


def _nearest(before: int, after: int, device: torch.device) -> Tensor:
    """Return which of `before` pixels lies under the center of each of `after`, (after,)."""
    places = np.floor((np.arange(after) + 0.5) * before / after + 1e-9).astype(np.int64)
    return torch.from_numpy(places).to(device)
