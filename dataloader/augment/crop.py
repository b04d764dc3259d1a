"""Cut away a random border of an image."""

from dataclasses import dataclass

import numpy as np

from dataloader.augment.argument_checks import check_share
from dataloader.sample import Sample
from dataloader.targets.plane_change import cropped


def crop_box(image: np.ndarray, *, top: int, left: int, height: int, width: int) -> np.ndarray:
    """Return the rectangle of the image, uint8 (height, width, 3), as a view."""
    return image[top : top + height, left : left + width]


@dataclass(frozen=True)
class Crop:
    """With probability p keep a random rectangle; height and width each lose up to `share` of themselves."""

    share: float = 0.2
    p: float = 0.5

    def __post_init__(self) -> None:
        check_share("crop", "share", self.share)
        check_share("crop", "p", self.p)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.p:
            return sample
        high, wide = sample.image.shape[:2]
        height = max(1, round(high * (1 - self.share * rng.random())))
        width = max(1, round(wide * (1 - self.share * rng.random())))
        top = int(rng.integers(high - height + 1))
        left = int(rng.integers(wide - width + 1))
        part = crop_box(sample.image, top=top, left=left, height=height, width=width)
        return sample.moved(part, cropped(top, left, (height, width)))
