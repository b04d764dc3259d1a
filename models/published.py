"""Where published weights lie, and the preprocessing that belongs to them."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlparse

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Mean and standard deviation that bring pixels to [-1, 1].
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Published:
    """A file of weights, the numbers its network was trained with, and what its publisher says of it.

    Attributes:
        mean, std: for images in [0, 1].
        size: the input (height, width) in pixels.
        license: of the file, as an SPDX identifier; '' where the publisher names none.
        top1: the share of ImageNet's validation images, in percent, that the publisher claims; None where there is no such figure.
        coco_ap: the average precision on COCO's validation images, in percent, of a detector.
    """

    url: str
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    size: tuple[int, int] = (224, 224)
    interpolation: str = "bilinear"
    license: str = ""
    top1: float | None = None
    coco_ap: float | None = None

    @property
    def suffix(self) -> str:
        """'.pth' or '.safetensors'."""
        return PurePosixPath(urlparse(self.url).path).suffix

    @property
    def file(self) -> str:
        """The file's own name."""
        return PurePosixPath(urlparse(self.url).path).name

    @property
    def host(self) -> str:
        """Where it lies, such as 'download.pytorch.org'."""
        return urlparse(self.url).netloc

    @property
    def sha256(self) -> str:
        """First digits of the file's SHA-256, where the name ends with them (name-5c106cde.pth), else ''."""
        found = re.search(r"-([0-9a-f]{8,64})\.\w+$", urlparse(self.url).path)
        return found.group(1) if found else ""

    @property
    def claims(self) -> str:
        """License and accuracy in words, as far as the publisher names them."""
        named = [self.license or "its publisher names no license"]
        if self.top1 is not None:
            named.append(f"ImageNet top-1 {self.top1:.1f}% as published")
        if self.coco_ap is not None:
            named.append(f"COCO AP {self.coco_ap:.1f}% as published")
        return ", ".join(named)


def on_hub(
    name: str,
    *,
    size: int = 224,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    license: str = "Apache-2.0",
    top1: float | None = None,
) -> Published:
    """The weights that timm publishes as NAME.TAG, for images resampled by the bicubic kernel; `top1` is what timm measured."""
    url = f"https://huggingface.co/timm/{name}/resolve/main/model.safetensors"
    return Published(url, mean=mean, std=std, size=(size, size), interpolation="bicubic", license=license, top1=top1)
