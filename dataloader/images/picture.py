"""An image as it was read, and where its pixels lie on the image of the file."""

from typing import NamedTuple

import numpy as np

from dataloader.targets.plane import PlaneChange, Size, along_axes, unchanged
from dataloader.targets.target import Target
from utils.errors import UserError

# libjpeg's inverse cosine transform makes k x k pixels of every 8 x 8.
_EIGHTHS = range(1, 8)


class Picture(NamedTuple):
    """An image as it was read: perhaps reduced while it was decoded, perhaps at the size at which a cache keeps it.

    Attributes:
        image: uint8 (h, w, 3), RGB.
        size: (H, W) of the whole image of the file, put upright.
        change: from the plane of the whole upright image, in whose pixels masks and boxes are written down, to `image`.
    """

    image: np.ndarray
    size: Size
    change: PlaneChange

    def follow(self, target: Target) -> Target:
        """Return a target of the whole upright image as it lies on `image`.

        Raises:
            UserError: it is one of an image of another size.
        """
        if not target.is_spatial:
            return target
        if (size := target.image_size()) is not None and size != self.size:
            (height, width), (high, wide), kind = size, self.size, type(target).__name__.lower()
            raise UserError(f"{kind} of {width}x{height} pixels for an image of {wide}x{high}: they must have the same size")
        return target.moved(self.change)


def whole(image: np.ndarray) -> Picture:
    """Return an image, uint8 (H, W, 3), of which every pixel was decoded, as a picture."""
    size = image.shape[0], image.shape[1]
    return Picture(image, size, unchanged(size))


def reduced(image: np.ndarray, size: Size, *, from_right: bool = False, from_bottom: bool = False) -> Picture:
    """Return a JPEG that was decoded at k/8 of its size as a picture.

    Both sides are rounded up, so that the last pixel may show less than others; the scale is k/8 all the same. Of a pixel whose
    center lies beyond the image a mask knows nothing.

    Args:
        image: uint8 (h, w, 3), put upright.
        size: (H, W) of the whole image, put upright.
        from_right, from_bottom: whether columns, or rows, are counted from there in the file, so that the incomplete pixel came
            first when the image was put upright.
    """
    height, width = image.shape[:2]
    if (height, width) == size:
        return whole(image)
    # The decoder takes the smallest scale that leaves enough pixels; a smaller one of the same sizes would have left as many.
    scale = next(k for k in _EIGHTHS if (-(-size[0] * k // 8), -(-size[1] * k // 8)) == (height, width)) / 8
    right = width - scale * size[1] if from_right else 0.0
    down = height - scale * size[0] if from_bottom else 0.0
    return Picture(image, size, along_axes((scale, right), (scale, down), (height, width)))
