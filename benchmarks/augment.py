"""Which library does which augmentation fastest: the time of one image, on one core.

    python -m benchmarks.augment [--width 500 --height 375]

Every operation runs as `--aug` runs it, and as the other libraries do it with the same meaning and p = 1. The choice of the table AUGMENTS
follows from these figures: whatever is used here should be among the fastest.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torchvision.transforms import v2

from dataloader.augment.chain import build_augment
from dataloader.sample import Sample
from dataloader.targets.label import Label
from utils.flags import add_flags, flag, make_parser
from utils.randomness import numpy_rng

# How much slower than the fastest a choice may be, as long as it is one library less to carry through a chain.
TOLERANCE = 1.25
Apply = Callable[[np.ndarray], object]


@dataclass(frozen=True)
class Sizes:
    """Sizes."""

    width: int = flag(500, "width of the image")
    height: int = flag(375, "height of the image")
    rounds: int = flag(60, "images for each figure")


@dataclass(frozen=True)
class Contest:
    """One operation: the spec of `--aug`, and the same in the libraries that it does not use; none for what only one has."""

    spec: str
    torchvision: v2.Transform | None
    albumentations: str | None


CONTESTS = (
    Contest("flip(1)", v2.RandomHorizontalFlip(1.0), "HorizontalFlip(p=1)"),
    Contest("VerticalFlip(p=1)", v2.RandomVerticalFlip(1.0), None),
    Contest("resized_crop", v2.RandomResizedCrop((224, 224), antialias=True), "RandomResizedCrop((224,224),area_for_downscale='image')"),
    Contest("rotate(20,p=1)", v2.RandomRotation(20, v2.InterpolationMode.BILINEAR), "Rotate(20,p=1)"),
    Contest("color(0.3,p=1)", v2.ColorJitter(0.3, 0.3, 0.3), "ColorJitter(0.3,0.3,0.3,0,p=1)"),
    Contest("ColorJitter(0.3,0.3,0.3,0.1,p=1)", v2.ColorJitter(0.3, 0.3, 0.3, 0.1), None),
    Contest("GaussianBlur((3,7),p=1)", v2.GaussianBlur((7, 7), (0.5, 3.0)), None),
    Contest("GaussNoise((0.05,0.1),p=1)", None, None),
    Contest("erase(1)", v2.RandomErasing(1.0), "CoarseDropout((1,1),(0.2,0.5),(0.2,0.5),fill='random',p=1)"),
    Contest(
        "Affine(rotate=20,scale=(0.9,1.1),p=1)", v2.RandomAffine(20, scale=(0.9, 1.1), interpolation=v2.InterpolationMode.BILINEAR), None
    ),
    Contest("Perspective(p=1)", v2.RandomPerspective(0.2, 1.0), None),
    Contest("ToGray(p=1)", v2.RandomGrayscale(1.0), None),
    Contest("autoaugment", None, None),
    Contest("randaug", None, None),
    Contest("trivialaugment", None, None),
    Contest("augmix", None, None),
    Contest("distort", None, None),
)


def ours(spec: str) -> Apply:
    """Return the operation of `--aug`, each time with another generator."""
    augment, count = build_augment(spec).at((224, 224)), iter(range(10**9))
    return lambda image: augment(Sample(image, Label(0)), numpy_rng(next(count)))


def of_torchvision(transform: v2.Transform) -> Apply:
    """Return a transform with the way from an array to a tensor and back."""
    return lambda image: np.ascontiguousarray(transform(torch.from_numpy(image).permute(2, 0, 1)).permute(1, 2, 0).numpy())


def milliseconds(apply: Apply, images: list[np.ndarray]) -> float:
    """Return the median time of one image."""
    apply(images[0])
    times = []
    for image in images:
        start = time.perf_counter()
        apply(image)
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3


def main(argv: list[str]) -> int:
    """Print a table; the exit code is 1 when an operation takes more than 1.25 times as long as the fastest."""
    parser = make_parser("python -m benchmarks.augment", "python -m benchmarks.augment [FLAGS]", "Time augmentations.")
    add_flags(parser, "sizes", Sizes)
    sizes = Sizes(**vars(parser.parse_args(argv)))
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    rng = np.random.default_rng(0)
    small = [rng.integers(0, 256, (9, 12, 3), dtype=np.uint8) for _ in range(sizes.rounds)]
    images = [cv2.resize(each, (sizes.width, sizes.height), interpolation=cv2.INTER_CUBIC) for each in small]
    print(f"ms for an image of {sizes.width}x{sizes.height}, one core")
    print(f"{'--aug':40} {'here':>8} {'torchvision':>12} {'albumentations':>15}")
    slow = []
    for contest in CONTESTS:
        here = milliseconds(ours(contest.spec), images)
        others = [
            None if contest.torchvision is None else milliseconds(of_torchvision(contest.torchvision), images),
            None if contest.albumentations is None else milliseconds(ours(contest.albumentations), images),
        ]
        shown = ["-" if value is None else f"{value:.2f}" for value in others]
        print(f"{contest.spec:40} {here:8.2f} {shown[0]:>12} {shown[1]:>15}", flush=True)
        if here > TOLERANCE * min([here, *(value for value in others if value is not None)]):
            slow.append(contest.spec)
    print(f"slower than the fastest by more than {TOLERANCE - 1:.0%}: {', '.join(slow)}" if slow else "all within 25% of the fastest")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
