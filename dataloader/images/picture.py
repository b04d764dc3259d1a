"""An image as it was read, and how its pixels lie on the image in the file."""

from typing import NamedTuple

import numpy as np

from dataloader.targets.plane_change import PlaneChange, Size, along_axes, unchanged
from dataloader.targets.target import Target
from utils.errors import UserError

# libjpeg's inverse cosine transform can decode every 8 x 8 block to k x k pixels.
_EIGHTHS = range(1, 8)


class Picture(NamedTuple):
    """An image as it was read: perhaps reduced by the decoder or by a cache.

    Attributes:
        image: uint8 (h, w, 3), RGB.
        size: (H, W) of the whole image of the file, put upright.
        change: from the whole upright image, in whose pixels masks and boxes are given, to `image`.
    """

    image: np.ndarray
    size: Size
    change: PlaneChange

    def follow(self, target: Target) -> Target:
        """Return a target of the whole upright image as it lies on `image`.

        Raises:
            UserError: it belongs to an image of another size.
        """
        if not target.is_spatial:
            return target
        if (size := target.image_size()) is not None and size != self.size:
            (height, width), (high, wide), kind = size, self.size, type(target).__name__.lower()
            raise UserError(f"{kind} of {width}x{height} pixels for an image of {wide}x{high}: they must have the same size")
        return target.moved(self.change)


def whole(image: np.ndarray) -> Picture:
    """Return a fully decoded image, uint8 (H, W, 3), as a picture."""
    size = image.shape[0], image.shape[1]
    return Picture(image, size, unchanged(size))


def reduced(image: np.ndarray, size: Size, *, from_right: bool = False, from_bottom: bool = False) -> Picture:
    """Return a JPEG that was decoded at k/8 of its size as a picture.

    Both sides are rounded up, so the last pixel may cover less of the image; the scale is k/8 all the same. A mask ignores pixels whose
    center lies outside the image.

    Args:
        image: uint8 (h, w, 3), put upright.
        size: (H, W) of the whole image, put upright.
        from_right, from_bottom: whether putting the image upright reversed its columns, or rows, so that the incomplete pixel comes
            first.
    """
    height, width = image.shape[:2]
    if (height, width) == size:
        return whole(image)
    # The smallest scale with these sizes: the decoder takes the smallest one that leaves enough pixels.
    scale = next(k for k in _EIGHTHS if (-(-size[0] * k // 8), -(-size[1] * k // 8)) == (height, width)) / 8
    right = width - scale * size[1] if from_right else 0.0
    down = height - scale * size[0] if from_bottom else 0.0
    return Picture(image, size, along_axes((scale, right), (scale, down), (height, width)))
