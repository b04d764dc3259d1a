"""How far a heat map can be believed: deletion and insertion, RISE (Petsiuk et al., arXiv 1806.07421).

Deletion blurs the hottest pixels first and insertion brings them back first, out of a blurred image. Where the map is right,
the probability of the class falls at once in the first and rises at once in the second.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Shares of the pixels after which the probability is looked at, besides none.
STEPS = 10
# The blur's standard deviation, as a share of the shorter side.
BLUR = 0.08


@dataclass(frozen=True)
class Faithfulness:
    """Areas under the curve of the probability over the share of pixels, (N,) each, in 0..1.

    Attributes:
        deletion: lower is better.
        insertion: higher is better.
    """

    deletion: np.ndarray
    insertion: np.ndarray

    def gain(self) -> float:
        """Return the mean of insertion minus deletion: above that of noise, the map says something."""
        return float((self.insertion - self.deletion).mean())


def measure(probabilities: Callable[[Tensor], Tensor], x: Tensor, heat: np.ndarray, classes: Tensor) -> Faithfulness:
    """Delete and insert pixels in the order of their heat.

    Args:
        probabilities: images (N, 3, H, W) -> (N, K).
        x: normalized images (N, 3, H, W).
        heat: (N, h, w), of any size.
        classes: (N,) the class whose probability is followed.
    """
    curves = {"deletion": [], "insertion": []}
    background = blurred(x)
    ranks = pixel_ranks(torch.from_numpy(heat).to(x.device), x.shape[-2:])
    for step in range(STEPS + 1):
        hot = (ranks < step / STEPS)[:, None]
        for name, images in (("deletion", torch.where(hot, background, x)), ("insertion", torch.where(hot, x, background))):
            with torch.no_grad():
                answers = probabilities(images).gather(1, classes[:, None])[:, 0]
            curves[name].append(answers.double().cpu().numpy())
    areas = {name: np.trapezoid(np.stack(curve), dx=1 / STEPS, axis=0) for name, curve in curves.items()}
    return Faithfulness(areas["deletion"], areas["insertion"])


def pixel_ranks(heat: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Return the share of pixels that are hotter than each pixel, (N, H, W) in [0, 1), for heat (N, h, w)."""
    large = F.interpolate(heat[:, None].float(), tuple(size), mode="bilinear", align_corners=False).flatten(1)
    order = large.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(large.shape[1], device=heat.device).expand_as(order)
    ranks = torch.empty_like(large).scatter_(1, order, places.float() / large.shape[1])
    return ranks.unflatten(1, tuple(size))


def blurred(x: Tensor) -> Tensor:
    """Return the images (N, 3, H, W) without detail."""
    from torchvision.transforms.v2.functional import gaussian_blur

    sigma = max(0.5, BLUR * min(x.shape[-2:]))
    # Reflection at the border needs a kernel of less than twice the side.
    kernel = min(2 * round(2 * sigma) + 1, 2 * min(x.shape[-2:]) - 1)
    return gaussian_blur(x, [kernel, kernel], [sigma, sigma])
