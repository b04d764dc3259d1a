"""Geometry and normalization of images: one implementation for training, evaluation, prediction and exported files."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dataloader.targets.plane_change import PlaneChange, Size, cropped, resampled
from utils.errors import UserError, nearest

RESIZES = ("fit", "crop", "stretch")
# Brightness of red, green and blue (ITU-R BT.601), as JPEG has it.
LUMA = (0.299, 0.587, 0.114)


class Placement(NamedTuple):
    """How an image is brought to another size: a rectangle of it is resized and centered in a padded frame.

    Attributes:
        top, left, height, width: of the rectangle, in pixels of the image.
        new_height, new_width: what it is resized to.
    """

    top: int
    left: int
    height: int
    width: int
    new_height: int
    new_width: int


def placement(h: int, w: int, height: int, width: int, mode: str) -> Placement:
    """Return how `fit_images` brings an image of h x w pixels to height x width. It can be scripted by TorchScript."""
    top = 0
    left = 0
    keep_h = h
    keep_w = w
    new_h = height
    new_w = width
    # Integer arithmetic, rounded half up; no side ever becomes zero.
    if mode == "fit":
        if w * height >= h * width:
            new_h = min(height, max(1, (2 * h * width + w) // (2 * w)))
        else:
            new_w = min(width, max(1, (2 * w * height + h) // (2 * h)))
    elif mode == "crop":
        # Cropped before resizing: a 1x5000 image would become too large for the memory.
        if w * height >= h * width:
            keep_w = min(w, max(1, (2 * h * width + height) // (2 * height)))
            left = (w - keep_w) // 2
        else:
            keep_h = min(h, max(1, (2 * w * height + width) // (2 * width)))
            top = (h - keep_h) // 2
    return Placement(top, left, keep_h, keep_w, new_h, new_w)


def fit_images(images: Tensor, height: int, width: int, mode: str) -> Tensor:
    """Bring images to one size: uint8 (N, C, h, w) -> uint8 (N, C, height, width).

    'fit' keeps the aspect ratio and pads with black around the center, 'crop' cuts the largest centered
    rectangle of the wanted aspect ratio, 'stretch' ignores the aspect ratio. Interpolation is bilinear with
    antialiasing, in integer arithmetic. The function can be scripted by TorchScript.

    Raises:
        ValueError: the mode is unknown.
    """
    if mode != "fit" and mode != "crop" and mode != "stretch":
        raise ValueError("resize must be fit, crop or stretch")
    h = images.shape[2]
    w = images.shape[3]
    if h == height and w == width:
        return images
    place = placement(h, w, height, width, mode)
    new_h = place.new_height
    new_w = place.new_width
    if place.height != h or place.width != w:
        images = images[:, :, place.top : place.top + place.height, place.left : place.left + place.width]
    if images.shape[2] != new_h or images.shape[3] != new_w:
        # torch has the integer kernel for the CPU only, and pixels must not depend on the device.
        resized = F.interpolate(images.cpu(), size=[new_h, new_w], mode="bilinear", align_corners=False, antialias=True)
        images = resized.to(images.device)
    if new_h == height and new_w == width:
        return images
    top = (height - new_h) // 2
    left = (width - new_w) // 2
    return F.pad(images, [left, width - new_w - left, top, height - new_h - top])


def fit_pixels(image: np.ndarray, height: int, width: int, mode: str) -> np.ndarray:
    """Return `fit_images` of one image: uint8 (h, w, C) -> uint8 (height, width, C)."""
    # With the batch axis added in front, the strides are those of channels-last memory, so torch returns channels-last, too.
    pixels = torch.from_numpy(np.ascontiguousarray(image))[None].permute(0, 3, 1, 2)
    return fit_images(pixels, height, width, mode)[0].permute(1, 2, 0).numpy()


def fit_change(before: Size, after: Size, mode: str) -> PlaneChange:
    """Return the change of geometry of `fit_images` from images of (H, W) `before` to `after`."""
    place = placement(*before, *after, mode)
    kept, size = (place.height, place.width), (place.new_height, place.new_width)
    change = resampled(place.top, place.left, kept, size)
    if size == after:
        return change
    return change.then(cropped(-((after[0] - size[0]) // 2), -((after[1] - size[1]) // 2), after))


@dataclass(frozen=True)
class Preprocess:
    """From the pixels of a file to those that a model sees; stored with the weights.

    Attributes:
        image_size: height and width, in pixels.
        resize: 'fit', 'crop' or 'stretch' (see fit_images).
        mean, std: of the RGB channels, for values in 0..1; one number each for a network that sees brightness alone, four for one that
            sees a fourth channel behind the colors.
        white: the value of 16-bit files that is shown as white, by the range of the training data; None where it has no
            16-bit files: then 16-bit values are taken to use all bits.
    """

    image_size: tuple[int, int] = (224, 224)
    resize: str = "fit"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    white: int | None = None

    def __post_init__(self) -> None:
        if self.resize not in RESIZES:
            raise UserError(f"--resize {self.resize}: write one of {', '.join(RESIZES)}.{nearest(self.resize, RESIZES)}")
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            raise UserError(f"--image_size {self.image_size}: write a height and a width of at least 1")
        if len(self.mean) not in (1, 3, 4) or len(self.std) != len(self.mean) or min(self.std) <= 0:
            raise UserError(f"mean {self.mean} and std {self.std} must be three numbers each, one for brightness, or four; std above zero")

    @property
    def bands(self) -> int:
        """Channels that are read from a file: 4 for a network that sees four, else 3, of which one of 1 sees the brightness."""
        return max(3, len(self.mean))

    def seeing(self, channels: int) -> "Preprocess":
        """Return the numbers for a network of 1 channel, brightness, of 3, or of 4, as near as they come to these.

        A fourth channel of which nothing is known gets the mean of the three.
        """
        if channels == len(self.mean):
            return self
        colors = self.mean[:3] if len(self.mean) > 1 else self.mean * 3
        spreads = self.std[:3] if len(self.std) > 1 else self.std * 3
        if channels == 1:
            mean = sum(part * value for part, value in zip(LUMA, colors, strict=True))
            return replace(self, mean=(mean,), std=(sum(spreads) / 3,))
        more = channels - 3
        return replace(self, mean=colors + (sum(colors) / 3,) * more, std=spreads + (sum(spreads) / 3,) * more)

    def apply(self, image: np.ndarray) -> Tensor:
        """Return the image, uint8 (h, w, bands), at the model's size: uint8 (bands, H, W)."""
        return torch.from_numpy(fit_pixels(image, *self.image_size, self.resize)).permute(2, 0, 1)

    def change(self, size: Size) -> PlaneChange:
        """Return the change of geometry of `apply` for an image of (H, W) `size`.

        Masks and boxes follow it to the pixels that the model sees; `change(size).undone(size)` maps predictions, such as a mask or
        boxes, back to the image, without the padded border.
        """
        return fit_change(size, self.image_size, self.resize)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON or a checkpoint."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocess":
        """Return what `to_dict` wrote.

        Raises:
            UserError: a key is unknown or a value makes no sense.
        """
        known = [item.name for item in fields(cls)]
        for name in values:
            if name not in known:
                raise UserError(f"preprocess: unknown setting '{name}'.{nearest(name, known)}")
        plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**plain)


class Normalize(nn.Module):
    """(x / 255 - mean) / std on the device: images in 0..255, uint8 or float (N, bands, H, W) -> float32 (N, C, H, W).

    C is the number of means. Where it is 1, bands are 3, and x is the brightness, 0.299 red + 0.587 green + 0.114 blue (ITU-R
    BT.601). The memory format of the input is kept.
    """

    mean: Tensor
    std: Tensor
    luma: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.gray = len(mean) == 1
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("luma", torch.tensor(LUMA, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if self.gray:
            images = (images * self.luma).sum(dim=1, keepdim=True)
        # Two passes over the pixels: the product converts uint8 to float, the sum is in place.
        scaled = images * (1.0 / (255.0 * self.std))
        return scaled.sub_(self.mean / self.std)
