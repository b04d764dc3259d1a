"""Crops of large images, some around a class that is drawn first, so that rare classes are seen. It is asked for by --crop.

No row of AUGMENTS, whose operations choose pixels without a look at the target.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from dataloader.augment.operation import OfTargets, SizeAware
from dataloader.images.picture import Picture
from dataloader.sample import Sample
from dataloader.targets.mask import Mask
from dataloader.targets.plane_change import cropped
from dataloader.targets.target import Target
from utils.errors import UserError

# Share of the crops that are laid around a pixel of a class.
AIMED = 0.5


@dataclass(frozen=True)
class ClassCrop(SizeAware, OfTargets):
    """Cuts a rectangle out of the image, at its own scale; what lies outside is black and unlabeled.

    With probability `aimed` one of the classes in the mask is drawn, each alike, then one of its pixels, which the crop holds.

    Attributes:
        size: (H, W) of the crop.
        aimed: in [0, 1].
    """

    size: tuple[int, int] = (224, 224)
    aimed: float = AIMED

    def check_target(self, target: Target) -> None:
        if not isinstance(target, Mask):
            raise UserError("--crop looks for classes in masks, and these images have none; leave it out, or try --aug 'RandomCrop(H, W)'")

    def at(self, image_size: tuple[int, int]) -> "ClassCrop":
        return ClassCrop(image_size, self.aimed)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        assert isinstance(sample.target, Mask)
        aimed, places = rng.random() < self.aimed, rng.random(4)
        spot = _spot(sample.target, places[:2]) if aimed else None
        tops = [
            _start(length, wanted, share, None if spot is None else spot[axis])
            for axis, (length, wanted, share) in enumerate(zip(sample.image.shape[:2], self.size, places[2:].tolist(), strict=True))
        ]
        return crop_at(sample, tops[0], tops[1], self.size)


def crop_at(sample: Sample, top: int, left: int, size: tuple[int, int]) -> Sample:
    """Return the rectangle of (H, W) `size` from a position on, which may be negative."""
    return sample.moved(cut_out(sample.image, top, left, size), cropped(top, left, size))


def cut_out(image: np.ndarray, top: int, left: int, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels of a rectangle, uint8 (H, W, 3), black where it leaves the image."""
    part = image[max(0, top) : max(0, top + size[0]), max(0, left) : max(0, left + size[1])]
    if part.shape[:2] == size:
        return np.ascontiguousarray(part)
    above, before = max(0, -top), max(0, -left)
    below, after = size[0] - above - part.shape[0], size[1] - before - part.shape[1]
    return cv2.copyMakeBorder(part, above, below, before, after, cv2.BORDER_CONSTANT, value=(0, 0, 0))


def _start(length: int, wanted: int, share: float, spot: int | None) -> int:
    """Return where a crop begins along an axis; a smaller image is at its upper left, as in tiles."""
    if length <= wanted:
        return 0
    low, high = (0, length - wanted) if spot is None else (max(0, spot - wanted + 1), min(length - wanted, spot))
    return min(high, low + int(share * (high - low + 1)))


def _spot(mask: Mask, shares: np.ndarray) -> tuple[int, int] | None:
    """Return row and column of a pixel of a class, both drawn by `shares` (2,); None where nothing is labeled."""
    found = np.unique(mask.ids)
    found = found[found != mask.ignore]
    if not len(found):
        return None
    members = np.flatnonzero(mask.ids == found[min(len(found) - 1, int(shares[0] * len(found)))])
    place = int(members[min(len(members) - 1, int(shares[1] * len(members)))])
    return place // mask.ids.shape[1], place % mask.ids.shape[1]


def middle_of(picture: Picture, size: tuple[int, int]) -> Picture:
    """Return the crop of (H, W) `size` in the middle of a picture, for validation: targets of the whole image follow it."""
    tops = [max(0, (length - wanted) // 2) for length, wanted in zip(picture.image.shape[:2], size, strict=True)]
    change = picture.change.then(cropped(tops[0], tops[1], size))
    return Picture(cut_out(picture.image, tops[0], tops[1], size), picture.size, change)
