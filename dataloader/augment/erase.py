"""Random erasing: noise in place of a random rectangle (Zhong et al., arXiv 1708.04896)."""

import math
from dataclasses import dataclass, replace

import numpy as np

from dataloader.augment.argument_checks import check_range, check_share
from dataloader.sample import Sample

ATTEMPTS = 10


@dataclass(frozen=True)
class Erase:
    """With probability p put noise in place of a rectangle.

    Its area is a share of the image's, drawn from `scale`; width / height is drawn from `ratio`, evenly on a log scale. An image
    into which none of ten rectangles fits stays as it is. Masks and boxes stay, as is usual: nothing moves, and the hidden part is to
    be inferred from its surroundings.
    """

    p: float = 0.25
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)

    def __post_init__(self) -> None:
        check_share("erase", "p", self.p)
        check_range("erase", "scale", self.scale, low=0, high=1)
        check_range("erase", "ratio", self.ratio, low=0, high=math.inf)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.p:
            return sample
        high, wide = sample.image.shape[:2]
        for _ in range(ATTEMPTS):
            area = high * wide * rng.uniform(*self.scale)
            form = math.exp(rng.uniform(*np.log(self.ratio)))
            height, width = round(math.sqrt(area / form)), round(math.sqrt(area * form))
            if 0 < height < high and 0 < width < wide:
                top, left = int(rng.integers(high - height + 1)), int(rng.integers(wide - width + 1))
                image = sample.image.copy()
                image[top : top + height, left : left + width] = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
                return replace(sample, image=image)
        return sample
