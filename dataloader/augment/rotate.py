"""Rotate an image around its center."""

from dataclasses import dataclass

import cv2
import numpy as np

from dataloader.augment.argument_checks import check_number, check_share
from dataloader.sample import Sample
from dataloader.targets.plane_change import rotated


def rotate_image(image: np.ndarray, degrees: float) -> np.ndarray:
    """Return the image, uint8 (H, W, 3), turned counterclockwise by `degrees`, at the same size; corners are black, bilinear."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)


@dataclass(frozen=True)
class Rotate:
    """With probability p rotate by an angle from -degrees to degrees."""

    degrees: float = 20.0
    p: float = 0.5

    def __post_init__(self) -> None:
        check_number("rotate", "degrees", self.degrees, low=0, high=180)
        check_share("rotate", "p", self.p)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.p:
            return sample
        degrees = float(rng.uniform(-self.degrees, self.degrees))
        return sample.moved(rotate_image(sample.image, degrees), rotated(degrees, sample.image.shape[:2]))
