"""What every anomaly detector is: an encoder whose maps are compared with those of good images, smoothed, and brought to [0, 1]."""

import math
from abc import abstractmethod
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from models.backbone import Backbone, Pretrainable
from models.segmenters.encoder import Encoder
from utils.errors import UserError

# A score of 0.5 is the distance that `calibrate` is told; that of the middle of the good images shall be this.
MIDDLE = 0.1
# Bounds of the exponent: far above good images, scores must still differ in float32.
LEAST_POWER, MOST_POWER = 1.0, 6.0


class AnomalyDetector(Pretrainable):
    """Images float (N, 3, H, W), normalized -> scores (N,) and maps (N, H, W), both in [0, 1], the larger the stranger.

    It is fitted without gradients: `observe` is called with every batch of good images, `passes` times over, `finish` after each pass.
    What it has found is in buffers alone, which take their shapes from the data; `load_state_dict` takes those of the file.

    A distance d becomes the score r / (1 + r), r = (d / reference) ^ power, which keeps the order: what equals the reference
    gets 0.5. The score of an image is the largest of its map.

    Args:
        encoder: with maps of the strides of the class; its weights stay as they are.
        smoothing: standard deviation of the Gaussian that smooths the map, in pixels of the image; 0 for none.
    """

    # Of the maps that it looks at.
    strides: ClassVar[tuple[int, ...]]
    passes: int = 1

    def __init__(self, encoder: Encoder, *, smoothing: float) -> None:
        super().__init__()
        if not isinstance(smoothing, int | float) or not 0 <= smoothing <= 100:
            raise UserError(f"--arch: smoothing {smoothing} is a standard deviation in pixels, from 0 to 100")
        self.encoder = encoder.requires_grad_(False)
        self.smoothing = float(smoothing)
        self.channels = [each.channels for each in encoder.info[: len(self.strides)]]
        self.register_buffer("reference", torch.tensor(1.0))
        self.register_buffer("power", torch.tensor(1.0))
        self.register_buffer("kernel", gaussian_kernel(self.smoothing), persistent=False)

    reference: Tensor
    power: Tensor
    kernel: Tensor

    @property
    @abstractmethod
    def is_fitted(self) -> bool:
        """Whether it has seen good images."""

    @abstractmethod
    def observe(self, images: Tensor) -> None:
        """Take good images, normalized (N, 3, H, W), all of one size."""

    @abstractmethod
    def finish(self) -> None:
        """End a pass over the good images.

        Raises:
            UserError: they were too few.
        """

    @abstractmethod
    def distances(self, images: Tensor) -> Tensor:
        """Return how far each place lies from what is normal, float32 (N, h, w), at the resolution of the maps."""

    def strangeness(self, images: Tensor, first: int) -> Tensor:
        """Return how strange images that were learned from look to what was learned from the others, (N,): their largest distance.

        Args:
            images: as they were observed.
            first: how many images were observed before these.
        """
        del first
        return self.raw(images).amax((1, 2))

    def train(self, mode: bool = True) -> "AnomalyDetector":
        """Set the mode; the encoder never learns, so that its batch norms and dropouts are always in evaluation."""
        super().train(mode)
        self.encoder.eval()
        return self

    def published_part(self, arch: str) -> tuple[Backbone, str]:
        del arch
        return self.encoder.backbone, self.encoder.name

    def check_size(self, image_size: tuple[int, int]) -> None:
        """Raise UserError for images whose coarsest map would have no two places along a side."""
        least = 2 * self.strides[-1]
        if min(image_size) < least:
            raise UserError(
                f"--image_size {image_size[0]} {image_size[1]}: an anomaly detector needs {least} pixels or more along each side"
            )

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the maps of the encoder, the largest first."""
        return [each.float() for each in self.encoder(images)[: len(self.strides)]]

    def raw(self, images: Tensor) -> Tensor:
        """Return distances at the size of the images, smoothed, (N, H, W)."""
        grid = self.distances(images)[:, None]
        whole = F.interpolate(grid, size=images.shape[-2:], mode="bilinear", align_corners=False)
        return smoothed(whole, self.kernel)[:, 0] if self.smoothing else whole[:, 0]

    def scaled(self, distances: Tensor) -> Tensor:
        """Return scores in [0, 1] for distances."""
        # r / (1 + r) of the logarithm of r, since r itself overflows far above the reference.
        return torch.sigmoid(self.power * (distances.clamp(min=0) / self.reference).log())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.scaled(self.raw(images))
        return maps.amax((1, 2)), maps

    def calibrate(self, distances: Tensor) -> None:
        """Choose the scale of the scores by the largest distances of held-out good images, (N,)."""
        high, middle = float(distances.max()), float(distances.median())
        power = math.log(MIDDLE / (1 - MIDDLE)) / math.log(middle / high) if 0 < middle < high else MOST_POWER
        self.reference.fill_(max(high, 1e-12))
        self.power.fill_(min(MOST_POWER, max(LEAST_POWER, power)))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        # What was fitted has the shapes of its data.
        for name, buffer in self._buffers.items():
            saved = state_dict.get(prefix + name)
            if buffer is not None and saved is not None and saved.shape != buffer.shape:
                self._buffers[name] = torch.empty_like(saved, device=buffer.device)
        # Files may hold an encoder whole, of which this network has the part that it looks at.
        own = {f"{prefix}encoder.{name}" for name in self.encoder.state_dict()}
        for name in [name for name in state_dict if name.startswith(f"{prefix}encoder.") and name not in own]:
            del state_dict[name]
        super()._load_from_state_dict(state_dict, prefix, *others)


def gaussian_kernel(sigma: float) -> Tensor:
    """Return the weights of a Gaussian, float32 (K,), cut at four standard deviations, with the sum 1."""
    reach = int(4 * sigma + 0.5)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / max(sigma, 1e-6)) ** 2)
    return (weights / weights.sum()).float()


def smoothed(maps: Tensor, kernel: Tensor) -> Tensor:
    """Return maps (N, 1, H, W) smoothed along both axes; beyond the border they are mirrored, or repeated where that is too far."""
    reach = len(kernel) // 2
    for axis in (2, 3):
        pad = [0, 0, reach, reach] if axis == 2 else [reach, reach, 0, 0]
        mode = "reflect" if reach < maps.shape[axis] else "replicate"
        maps = F.conv2d(F.pad(maps, pad, mode=mode), kernel.view(1, 1, -1, 1) if axis == 2 else kernel.view(1, 1, 1, -1))
    return maps
