"""Batch norms that a file had joined with their convolutions, measured again on training images, so that they can be trained."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from dataloader.images.preprocess import Normalize, Preprocess
from dataloader.images.read import ImageError
from dataloader.splits.split import Split
from models.detectors.folded_batchnorm import folded_norms, measure_folded
from utils.logs import log

# Images that are looked at, and how many at a time.
IMAGES, TOGETHER = 32, 8


def measure_folded_norms(model: nn.Module, split: Split, preprocess: Preprocess) -> None:
    """Measure the norms of a network whose weights came from a file without any, in place; leave others alone.

    Args:
        model: on the CPU.
        split: the training images.
        preprocess: what the network sees of them.

    """
    if not folded_norms(model):
        return
    chosen = np.unique(np.linspace(0, len(split) - 1, min(IMAGES, len(split))).round().astype(int)).tolist()
    normalize = Normalize(preprocess.mean, preprocess.std)

    def batches() -> Iterator[Tensor]:
        for start in range(0, len(chosen), TOGETHER):
            images = [_read(split, index, preprocess) for index in chosen[start : start + TOGETHER]]
            if images := [image for image in images if image is not None]:
                yield normalize(torch.stack(images))

    count = measure_folded(model, batches())
    log().info(f"          {count} batch norms that the file had joined with convolutions are measured again on {len(chosen)} images")


def _read(split: Split, index: int, preprocess: Preprocess) -> Tensor | None:
    """Return an image at the size of the network, uint8 (3, H, W); None of one that cannot be read."""
    try:
        return preprocess.apply(split.read(index))
    except ImageError:
        return None
