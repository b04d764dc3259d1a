"""Ways to look at an image: mirrored, larger, smaller (--tta)."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from utils.errors import UserError
from utils.spec import parse_specs

USAGE = "write hflip, vflip, scale(0.9,1.2), joined by |"
# Networks halve the map up to five times.
STRIDE = 32


@dataclass(frozen=True)
class View:
    """One way to look at an image: mirrored or not, at a (height, width)."""

    flips: tuple[int, ...]
    size: tuple[int, int]

    def of(self, images: Tensor) -> Tensor:
        """Return the view of normalized images (N, 3, H, W)."""
        if images.shape[2:] != self.size:
            images = F.interpolate(images, size=self.size, mode="bilinear", align_corners=False, antialias=True)
        return images.flip(self.flips) if self.flips else images


def parse_views(text: str, image_size: tuple[int, int]) -> tuple[View, ...]:
    """Return the views of a chain such as 'hflip|scale(1.25)', the plain one first: every flip at every scale.

    Raises:
        UserError: a name or a factor cannot be used.
    """
    mirrors: list[tuple[int, ...]] = [()]
    sizes = [image_size]
    for spec in parse_specs(text):
        if spec.kwargs or (spec.args and spec.name != "scale"):
            raise UserError(f"--tta {spec}: {USAGE}")
        if spec.name in ("hflip", "vflip"):
            axis = -1 if spec.name == "hflip" else -2
            mirrors += [(*axes, axis) for axes in mirrors if axis not in axes]
        elif spec.name == "scale" and spec.args:
            sizes += [_scaled(image_size, factor) for factor in spec.args]
        else:
            raise UserError(f"--tta {spec}: {USAGE}")
    return tuple(View(axes, size) for size in dict.fromkeys(sizes) for axes in mirrors)


def _scaled(size: tuple[int, int], factor: object) -> tuple[int, int]:
    if not isinstance(factor, int | float) or not 0.2 <= factor <= 5:
        raise UserError(f"--tta scale({factor}): factors from 0.2 to 5 make sense; {USAGE}")
    # Large images stay a multiple of the stride, small ones take what comes.
    height, width = (round(side * factor / STRIDE) * STRIDE if side >= 4 * STRIDE else round(side * factor) for side in size)
    return max(1, height), max(1, width)
