"""Progressive sizes: small images first, for speed (after Tan and Le: EfficientNetV2, arXiv 2104.00298, section 4)."""

import re
from dataclasses import dataclass

from utils.errors import UserError

FORM = "write WIDTH:SHARE,... with rising shares of the epochs, the last one without: 128:0.5,160:0.8,224"


@dataclass(frozen=True)
class SizeSchedule:
    """The size of training images in each epoch.

    Attributes:
        image_size: height and width that validation sees, and training in the end.
        stages: (first epoch after the stage, width) in order.
    """

    image_size: tuple[int, int]
    stages: tuple[tuple[int, int], ...] = ()

    def at(self, epoch: int) -> tuple[int, int]:
        """Return height and width of an epoch; the aspect ratio is that of the image size."""
        height, width = self.image_size
        for end, new_width in self.stages:
            if epoch < end:
                return max(1, round(height * new_width / width)), new_width
        return self.image_size

    def all(self) -> list[tuple[int, int]]:
        """Return every size that occurs."""
        return [*(self.at(end - 1) for end, _ in self.stages), self.image_size]


def parse_sizes(text: str, image_size: tuple[int, int], epochs: int) -> SizeSchedule:
    """Return the schedule of '128:0.5,160:0.8,224': width 128 in the first half of the epochs, 160 until 80%, then 224.

    Raises:
        UserError: it reads otherwise, or does not end with the width of the image size.
    """
    *stages, last = (part.strip() for part in text.split(","))
    if re.fullmatch(r"\d+", last) is None:
        stages, last = [*stages, last], str(image_size[1])
    if int(last) != image_size[1]:
        raise UserError(f"--size_schedule {text} ends with the width {last}, but --image_size has {image_size[1]}; they must be the same")
    found, before = [], 0.0
    for stage in stages:
        match = re.fullmatch(r"(\d+):(0?\.\d+|1(?:\.0*)?)", stage)
        if match is None or int(match[1]) < 1 or not before < float(match[2]) <= 1:
            raise UserError(f"--size_schedule {text}: cannot use '{stage}'; {FORM}")
        before = float(match[2])
        found.append((round(before * epochs), int(match[1])))
    return SizeSchedule(image_size, tuple((end, width) for end, width in found if end > 0))
