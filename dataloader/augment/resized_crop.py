"""Random resized crop: a rectangle of random area and shape fills the whole image (Szegedy et al., arXiv 1409.4842, section 6)."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from dataloader.augment.argument_checks import check_range, check_share
from dataloader.augment.crop import crop_box
from dataloader.augment.operation import SizeAware
from dataloader.images.preprocess import fit_images
from dataloader.sample import Sample
from dataloader.targets.plane_change import resampled

ATTEMPTS = 10


def draw_box(
    shape: tuple[int, int], rng: np.random.Generator, *, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Return top, left, height and width of a rectangle whose share of the area lies in `scale` and whose width / height in `ratio`.

    After ten attempts that do not fit, it is the largest centered rectangle of the nearest allowed aspect ratio.
    """
    high, wide = shape
    logs = np.log(ratio)
    for _ in range(ATTEMPTS):
        area = high * wide * rng.uniform(*scale)
        form = math.exp(rng.uniform(*logs))
        height, width = round(math.sqrt(area / form)), round(math.sqrt(area * form))
        if 0 < height <= high and 0 < width <= wide:
            return int(rng.integers(high - height + 1)), int(rng.integers(wide - width + 1)), height, width
    form = min(max(wide / high, ratio[0]), ratio[1])
    height = max(1, min(high, round(wide / form)))
    width = max(1, min(wide, round(high * form)))
    return (high - height) // 2, (wide - width) // 2, height, width


@dataclass(frozen=True)
class ResizedCrop(SizeAware):
    """With probability p a random rectangle, stretched to the size that the network sees.

    The area is a share of the image's, drawn from `scale`; width / height is drawn from `ratio`, evenly on a log scale.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    p: float = 1.0
    image_size: tuple[int, int] = (224, 224)

    def __post_init__(self) -> None:
        check_range("resized_crop", "scale", self.scale, low=0, high=1)
        check_range("resized_crop", "ratio", self.ratio, low=0, high=math.inf)
        check_share("resized_crop", "p", self.p)

    def at(self, image_size: tuple[int, int]) -> "ResizedCrop":
        return replace(self, image_size=image_size)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.p:
            return sample
        high, wide = sample.image.shape[:2]
        top, left, height, width = draw_box((high, wide), rng, scale=self.scale, ratio=self.ratio)
        part = crop_box(sample.image, top=top, left=left, height=height, width=width)
        pixels = torch.from_numpy(np.ascontiguousarray(part)).permute(2, 0, 1)[None]
        image = fit_images(pixels, *self.image_size, "stretch")[0].permute(1, 2, 0)
        return sample.moved(np.ascontiguousarray(image.numpy()), resampled(top, left, (height, width), self.image_size))
