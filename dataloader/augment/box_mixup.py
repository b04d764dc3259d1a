"""Mixup for boxes: another image shines through, with its boxes (Zhang et al., arXiv 1902.04103)."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from dataloader.augment.argument_checks import check_range, check_share
from dataloader.augment.mosaic import fitted, joined_boxes, lay, refuse_without_boxes
from dataloader.augment.operation import Composite, Others
from dataloader.sample import Sample
from dataloader.targets.plane_change import Size
from dataloader.targets.target import Target

# Both parameters of the Beta distribution of the shares: near one half, so that the objects of both images can be seen.
ALPHA = 32.0


@dataclass(frozen=True)
class BoxMixup(Composite):
    """With probability p the image, in a frame of the network's size, is blended with another one of the split.

    The other one is fitted to the frame, scaled by a number drawn from `scale`, and put anywhere in it. The boxes of both count in full.
    """

    scale: tuple[float, float] = (0.5, 1.5)
    p: float = 0.5
    image_size: Size = (224, 224)

    def __post_init__(self) -> None:
        check_range("box_mixup", "scale", self.scale, low=0, high=10)
        check_share("box_mixup", "p", self.p)

    def at(self, image_size: Size) -> "BoxMixup":
        return replace(self, image_size=image_size)

    def check_target(self, target: Target) -> None:
        refuse_without_boxes("box_mixup", target)

    def compose(self, sample: Sample, others: Others, rng: np.random.Generator) -> Sample:
        self.check_target(sample.target)
        if rng.random() >= self.p:
            return sample
        share, scale, places = float(rng.beta(ALPHA, ALPHA)), float(rng.uniform(*self.scale)), rng.random(2).tolist()
        own, target = self._framed(sample, 1.0, [0.5, 0.5])
        other, added = self._framed(others.draw(rng), scale, places)
        image = cv2.addWeighted(own, share, other, 1 - share, 0.0)
        return replace(sample, image=image, target=joined_boxes([target, added]))

    def _framed(self, sample: Sample, scale: float, places: list[float]) -> tuple[np.ndarray, Target]:
        """Return an image in the frame, with its target: `places` (2,) in 0..1 between the upper left and the lower right edge."""
        if scale == 1 and sample.image.shape[:2] == self.image_size:
            return sample.image, sample.target
        size = fitted(sample.image.shape[:2], self.image_size, scale)
        # One that is larger than the frame fills it.
        top, left = (round((whole - side) * place) for whole, side, place in zip(self.image_size, size, places, strict=True))
        frame = np.zeros((*self.image_size, 3), np.uint8)
        return frame, sample.target.moved(lay(frame, sample.image, top, left, size))
