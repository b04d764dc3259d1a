"""Mosaic: four images with boxes around a point (Bochkovskiy et al., YOLOv4, arXiv 2004.10934)."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from dataloader.augment.argument_checks import check_range, check_share
from dataloader.augment.operation import Composite, Others
from dataloader.sample import Sample
from dataloader.targets.boxes import Boxes
from dataloader.targets.plane_change import PlaneChange, Size, along_axes
from dataloader.targets.target import Target
from utils.errors import UserError

# In pixels of the frame: boxes with a shorter side show nothing that could be learned (as arXiv 2107.08430 has it).
LEAST_SIDE = 1.0


@dataclass(frozen=True)
class Mosaic(Composite):
    """With probability p the image and three others of the split meet at a point of a frame of the network's size; the rest is black.

    Each is fitted to the frame, then all are scaled by one number drawn from `scale`. At 1 the point is anywhere in the frame; a smaller
    scale keeps it nearer to the middle, so that more of all four is seen. This is the mosaic of YOLOX (arXiv 2107.08430), whose point lies
    in the middle half of a canvas of twice the size, which is scaled around its middle and cut to the frame.
    """

    scale: tuple[float, float] = (0.5, 1.5)
    p: float = 1.0
    image_size: Size = (224, 224)

    def __post_init__(self) -> None:
        check_range("mosaic", "scale", self.scale, low=0, high=10)
        check_share("mosaic", "p", self.p)

    def at(self, image_size: Size) -> "Mosaic":
        return replace(self, image_size=image_size)

    def check_target(self, target: Target) -> None:
        refuse_without_boxes("mosaic", target)

    def compose(self, sample: Sample, others: Others, rng: np.random.Generator) -> Sample:
        self.check_target(sample.target)
        if rng.random() >= self.p:
            return sample
        scale, places = float(rng.uniform(*self.scale)), rng.random(2)
        parts = [sample, *(others.draw(rng) for _ in range(3))]
        # The order, so that the image itself is in any corner.
        parts = [parts[place] for place in rng.permutation(4)]
        height, width = self.image_size
        middle = [round(side / 2 + scale * side * (float(place) - 0.5)) for side, place in zip(self.image_size, places, strict=True)]
        frame = np.zeros((height, width, 3), np.uint8)
        targets = []
        for number, part in enumerate(parts):
            size = fitted(part.image.shape[:2], self.image_size, scale)
            top = middle[0] - size[0] * (number < 2)
            left = middle[1] - size[1] * (number % 2 == 0)
            targets.append(part.target.moved(lay(frame, part.image, top, left, size)))
        return replace(sample, image=frame, target=joined_boxes(targets))


def fitted(size: Size, frame: Size, scale: float) -> Size:
    """Return the (H, W) of an image that is fitted to a frame, then scaled; at least a pixel."""
    factor = scale * min(frame[0] / size[0], frame[1] / size[1])
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def lay(frame: np.ndarray, image: np.ndarray, top: int, left: int, size: Size) -> PlaneChange:
    """Write an image, resized to (H, W) `size`, into a frame, uint8 (H, W, 3), in place, as far as it lies there.

    Returns:
        The change of geometry from the image to the frame.
    """
    (height, width), (high, wide) = frame.shape[:2], size
    first, last = (max(0, -top), max(0, -left)), (min(high, height - top), min(wide, width - left))
    if first[0] < last[0] and first[1] < last[1]:
        shrinks = high < image.shape[0] or wide < image.shape[1]
        pixels = cv2.resize(image, (wide, high), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        part = pixels[first[0] : last[0], first[1] : last[1]]
        frame[top + first[0] : top + last[0], left + first[1] : left + last[1]] = part
    return along_axes((wide / image.shape[1], left), (high / image.shape[0], top), (height, width))


def joined_boxes(targets: list[Target]) -> Boxes:
    """Return the boxes of several targets of one frame, without those that end too small to be seen."""
    several = [target for target in targets if isinstance(target, Boxes)]
    assert len(several) == len(targets), "boxes alone"
    parts = {name: np.concatenate([getattr(each, name) for each in several]) for name in ("corners", "classes", "crowd", "areas")}
    joined = replace(several[0], **parts)
    return joined.chosen((joined.corners[:, 2:] - joined.corners[:, :2]).min(1) > LEAST_SIDE)


def refuse_without_boxes(operation: str, target: Target) -> None:
    """Raise UserError unless the target is boxes."""
    if not isinstance(target, Boxes):
        raise UserError(
            f"{operation} puts several images with boxes together, for --task detect; leave it out, or see --mixup and --cutmix"
        )
