"""Where published weights lie, and the preprocessing that belongs to them."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlparse

from models import find_adapter, find_family
from utils.registry import import_target

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Mean and standard deviation that bring pixels to [-1, 1].
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Published:
    """A file of weights and the numbers its network was trained with.

    `mean` and `std` are for images in [0, 1]; `size` is the input (height, width) in pixels.
    """

    url: str
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    size: tuple[int, int] = (224, 224)
    interpolation: str = "bilinear"

    @property
    def suffix(self) -> str:
        """'.pth' or '.safetensors'."""
        return PurePosixPath(urlparse(self.url).path).suffix

    @property
    def sha256(self) -> str:
        """First digits of the file's SHA-256, where the name ends with them (name-5c106cde.pth), else ''."""
        found = re.search(r"-([0-9a-f]{8,64})\.\w+$", urlparse(self.url).path)
        return found.group(1) if found else ""


def on_hub(name: str, *, size: int = 224, mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD) -> Published:
    """The weights that timm publishes as NAME.TAG, for images resampled by the bicubic kernel."""
    url = f"https://huggingface.co/timm/{name}/resolve/main/model.safetensors"
    return Published(url, mean=mean, std=std, size=(size, size), interpolation="bicubic")


def find_published(arch: str) -> Published | None:
    """The published weights of an architecture of the table or of a package, or None."""
    if (family := find_family(arch)) is not None:
        module = family.target.partition(":")[0]
        return import_target(f"{module}:PUBLISHED").get(arch)
    if (adapter := find_adapter(arch)) is not None:
        return adapter.find_published(arch.partition("/")[2])
    return None


def published_preprocess(arch: str) -> dict | None:
    """Preprocessing of the published weights, or None where there are none.

    Returns:
        {"mean": three floats, "std": three floats, "size": (height, width), "interpolation": name};
        mean and std are for images in [0, 1].
    """
    published = find_published(arch)
    if published is None:
        return None
    return {"mean": published.mean, "std": published.std, "size": published.size, "interpolation": published.interpolation}
