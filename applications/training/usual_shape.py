"""The size and shape that most training images have, by a few of them: what a plan or a probe chooses the size of its input by."""

from dataclasses import dataclass
from statistics import median

from dataloader.splits.split import Split
from utils.errors import UserError

# Images that are looked at, and how far a ratio of sides may lie from the median for all of them to have one shape.
LOOKED_AT, SAME_SHAPE = 15, 0.1
# Of longer images the ends are made smaller, rather than all of them larger.
MOST_RATIO = 2.0


@dataclass(frozen=True)
class UsualShape:
    """What most images have.

    Attributes:
        shorter: side in pixels; None where no image can be read.
        ratio: height / width; 1 where they have several shapes.
    """

    shorter: int | None
    ratio: float

    def with_shorter(self, side: int, stride: int) -> tuple[int, int]:
        """Return height and width of this shape, the longer one a multiple of `stride`."""
        longer = max(side, stride * round(side * max(self.ratio, 1 / self.ratio) / stride))
        return (longer, side) if self.ratio > 1 else (side, longer)

    def with_longer(self, side: int, stride: int) -> tuple[int, int]:
        """Return height and width of this shape, the shorter one a multiple of `stride`."""
        shorter = min(side, stride * round(side * min(self.ratio, 1 / self.ratio) / stride))
        return (side, shorter) if self.ratio > 1 else (shorter, side)


def usual_shape(split: Split) -> UsualShape:
    """Return what most images of a split have; those that cannot be read do not count."""
    sides, ratios = [], []
    for index in sorted({number * (len(split) - 1) // LOOKED_AT for number in range(LOOKED_AT + 1)}):
        try:
            height, width = split.read_picture(index).size
        except UserError:
            continue
        sides.append(min(width, height))
        ratios.append(height / width)
    if not sides:
        return UsualShape(None, 1.0)
    ratio = median(ratios)
    if any(abs(each / ratio - 1) > SAME_SHAPE for each in ratios):
        ratio = 1.0
    return UsualShape(sorted(sides)[len(sides) // 2], min(MOST_RATIO, max(1 / MOST_RATIO, ratio)))
