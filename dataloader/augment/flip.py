"""Mirror an image left and right."""

from dataclasses import dataclass

import cv2
import numpy as np

from dataloader.augment.argument_checks import check_share
from dataloader.sample import Sample
from dataloader.targets.plane_change import mirrored


def flip_horizontal(image: np.ndarray) -> np.ndarray:
    """Return the mirrored image, uint8 (H, W, 3)."""
    return cv2.flip(image, 1)


@dataclass(frozen=True)
class Flip:
    """Mirror left and right with probability p."""

    p: float = 0.5

    def __post_init__(self) -> None:
        check_share("flip", "p", self.p)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.p:
            return sample
        return sample.moved(flip_horizontal(sample.image), mirrored(sample.image.shape[:2]))
