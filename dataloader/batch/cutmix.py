"""Put a rectangle of one image into another, and share the targets by area (Yun et al.: CutMix, arXiv 1905.04899)."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from dataloader.batch.mixup import blend, check_mix
from dataloader.batch.targets import to_dense
from dataloader.sample import Batch
from utils.randomness import Stream, numpy_rng


def draw_rectangle(height: int, width: int, share: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of a rectangle around a random center, of 1 - share of the area before it is cut at the border."""
    side = float(np.sqrt(1 - share)) / 2
    row, column = rng.random() * height, rng.random() * width
    top, bottom = (int(np.clip(round(row + sign * side * height), 0, height)) for sign in (-1, 1))
    left, right = (int(np.clip(round(column + sign * side * width), 0, width)) for sign in (-1, 1))
    return top, bottom, left, right


@dataclass(frozen=True)
class CutMix:
    """A batch transform: with probability `ratio` every sample gets a rectangle of another one of its batch.

    The rectangle is the same for the batch; the targets and the sample weights are shared by the area that each image has in the end.
    Images become float32 in 0..255 and targets probabilities, mixed or not, so that the model always sees one type.

    Attributes:
        alpha: both parameters of the Beta distribution of the area that stays.
        ratio: probability that a batch is mixed.
        num_classes: width of the targets.
        seed: with step and rank, the only source of randomness.
    """

    alpha: float
    ratio: float
    num_classes: int
    seed: int

    def __post_init__(self) -> None:
        check_mix("cutmix", self.alpha, self.ratio)

    def __call__(self, batch: Batch, step: int, rank: int) -> Batch:
        """Return the mixed batch, on the device of the given one; indices stay those of the larger picture."""
        images = batch.images.float()
        targets = to_dense(batch.targets, self.num_classes)
        rng = numpy_rng(Stream.MIX, self.seed, step, rank)
        if rng.random() >= self.ratio:
            return replace(batch, images=images, targets=targets)
        height, width = images.shape[2:]
        top, bottom, left, right = draw_rectangle(height, width, float(rng.beta(self.alpha, self.alpha)), rng)
        share = 1 - (bottom - top) * (right - left) / (height * width)
        partners = torch.from_numpy(rng.permutation(len(batch))).to(images.device)
        # float() has made a copy of bytes; images that are floating-point already belong to the caller.
        images = images.clone() if images is batch.images else images
        images[:, :, top:bottom, left:right] = batch.images[partners, :, top:bottom, left:right].float()
        return replace(batch, images=images, targets=blend(targets, partners, share), weights=blend(batch.weights, partners, share))
