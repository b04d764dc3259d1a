"""Change brightness, contrast and saturation of an image (after Howard: Some Improvements on Deep CNN Based Image Classification, 2013)."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from dataloader.augment.argument_checks import check_share
from dataloader.sample import Sample


def adjust_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply all values by `factor` and clip: uint8 (H, W, 3); 0 is black, 1 changes nothing."""
    return _map_values(image, factor, 0.0)


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the distance to the image's mean gray by `factor` and clip: uint8 (H, W, 3); 0 is plain gray, 1 changes nothing."""
    mean = cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]
    return _map_values(image, factor, (1 - factor) * mean)


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the distance to each pixel's own gray by `factor` and clip: uint8 (H, W, 3); 0 is a gray image, 1 changes nothing."""
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, factor, gray, 1 - factor, 0.0)


def _map_values(image: np.ndarray, factor: float, shift: float) -> np.ndarray:
    # The second image weighs nothing; this is OpenCV's fastest way to scale, shift, round and clip.
    return cv2.addWeighted(image, factor, image, 0.0, shift)


@dataclass(frozen=True)
class Color:
    """With probability p change brightness, contrast and saturation, each by a factor from 1 - strength to 1 + strength."""

    strength: float = 0.3
    p: float = 0.8

    def __post_init__(self) -> None:
        check_share("color", "strength", self.strength)
        check_share("color", "p", self.p)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.p:
            return sample
        image = sample.image
        for adjust in (adjust_brightness, adjust_contrast, adjust_saturation):
            image = adjust(image, float(rng.uniform(1 - self.strength, 1 + self.strength)))
        return replace(sample, image=image)
