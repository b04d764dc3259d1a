"""What targets without places on the image have in common."""

from dataloader.targets.plane_change import Change, Size
from dataloader.targets.target import Target


class OfWholeImage(Target):
    """A target without positions: no change of geometry affects it."""

    is_spatial = False

    def image_size(self) -> Size | None:
        return None

    def moved(self, change: Change) -> "Target":
        del change
        return self
