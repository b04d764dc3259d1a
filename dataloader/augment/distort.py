"""A few random changes of the pixels in random order: blur, noise, contrast, sharpness, brightness, saturation, hue."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from dataloader.augment.argument_checks import check_count
from dataloader.augment.color import adjust_brightness, adjust_contrast, adjust_saturation
from dataloader.sample import Sample

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur with a Gaussian, along a random direction, or between edges only."""
    kind = int(rng.integers(3))
    if kind == 0:
        return cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 2.0)))
    if kind == 1:
        return cv2.filter2D(image, -1, motion_kernel(int(rng.integers(3, 8)), float(rng.uniform(0, 180))))
    return cv2.bilateralFilter(image, 5, float(rng.uniform(20, 100)), float(rng.uniform(1, 5)))


def motion_kernel(length: int, degrees: float) -> np.ndarray:
    """Return a line through the center as weights that sum to one, float32 (length, length)."""
    center = (length - 1) / 2
    line = np.zeros((length, length), dtype=np.float32)
    steps = np.linspace(-center, center, 4 * length)
    angle = np.deg2rad(degrees)
    rows = np.rint(center - steps * np.sin(angle)).astype(int)
    columns = np.rint(center + steps * np.cos(angle)).astype(int)
    line[rows, columns] = 1
    return line / line.sum()


def noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise, or put black and white in place of single pixels."""
    if rng.random() < 0.5:
        added = rng.normal(0, rng.uniform(3, 15), image.shape)
        return np.clip(image + added, 0, 255).astype(np.uint8)
    struck = rng.random(image.shape[:2])
    share = rng.uniform(0.005, 0.03)
    image = image.copy()
    image[struck < share / 2] = 0
    image[struck > 1 - share / 2] = 255
    return image


def contrast(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change the contrast by a factor of 0.6 to 1.4."""
    return adjust_contrast(image, float(rng.uniform(0.6, 1.4)))


def sharpen(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sharpen: add the difference to a blurred image."""
    strength = float(rng.uniform(0.3, 1.5))
    return cv2.addWeighted(image, 1 + strength, cv2.GaussianBlur(image, (0, 0), 1.0), -strength, 0.0)


def brightness(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add up to 30 to all values, or multiply them by 0.5 to 1.5."""
    if rng.random() < 0.5:
        return cv2.addWeighted(image, 1.0, image, 0.0, float(rng.integers(-30, 31)))
    return adjust_brightness(image, float(rng.uniform(0.5, 1.5)))


def saturation(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add up to 75 to the saturation, or multiply the distance to gray by up to 3."""
    if rng.random() < 0.5:
        return shift_hsv(image, channel=1, amount=int(rng.integers(-75, 76)))
    return adjust_saturation(image, float(rng.uniform(0, 3)))


def hue(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn the color circle by up to 36 degrees."""
    return shift_hsv(image, channel=0, amount=int(rng.integers(-18, 19)))


def shift_hsv(image: np.ndarray, *, channel: int, amount: int) -> np.ndarray:
    """Add `amount` to hue (channel 0, in steps of two degrees, around the circle) or saturation (1, clipped): uint8 (H, W, 3)."""
    parts = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    values = np.arange(256) + amount
    table = values % 180 if channel == 0 else np.clip(values, 0, 255)
    parts[..., channel] = cv2.LUT(np.ascontiguousarray(parts[..., channel]), table.astype(np.uint8))
    return cv2.cvtColor(parts, cv2.COLOR_HSV2RGB)


CHANGES: tuple[Change, ...] = (blur, noise, contrast, sharpen, brightness, saturation, hue)


@dataclass(frozen=True)
class Distort:
    """From none to `most` different changes of the pixels, in random order."""

    most: int = 3

    def __post_init__(self) -> None:
        check_count("distort", "most", self.most, low=1, high=len(CHANGES))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image = sample.image
        for number in rng.permutation(len(CHANGES))[: int(rng.integers(self.most + 1))]:
            image = CHANGES[number](image, rng)
        return replace(sample, image=image)
