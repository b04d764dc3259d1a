"""Consecutive steps of geometry, each by its own kernel, against one warp by the composed matrix: time and sharpness.

    python -m benchmarks.one_warp [--rounds 40]

The chain runs as `--aug` runs it. A target that follows it collects the matrices, whose product then is done at once by OpenCV, bilinear.
Both are compared to the mean of 64 samples of the source in every pixel, which is what an image without aliasing would show.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from dataloader.augment.chain import build_augment
from dataloader.sample import Sample
from dataloader.targets.plane_change import Change, PlaneChange, from_matrix, scaled, unchanged
from dataloader.targets.target import Target
from utils.flags import add_flags, flag, make_parser
from utils.randomness import numpy_rng

CHAINS = ("flip(1)|crop(0.2,p=1)|rotate(20,p=1)|resized_crop", "rotate(20,p=1)|resized_crop((0.3,1))", "flip(1)|resized_crop")
SIZES = ((375, 500), (1200, 1600))
SEEN = (224, 224)
# Samples of the reference along each side of a pixel.
FINE = 8


@dataclass(frozen=True)
class Rounds:
    """Rounds."""

    rounds: int = flag(40, "images for each figure")


@dataclass(frozen=True)
class Followed(Target):
    """What was done to the plane so far."""

    change: PlaneChange

    def moved(self, change: Change) -> "Followed":
        assert isinstance(change, PlaneChange)
        return Followed(self.change.then(change))

    def nothing(self) -> "Followed":
        return self

    def image_size(self) -> tuple[int, int]:
        return self.change.size

    @classmethod
    def stack(cls, targets: Sequence[Target]) -> Tensor:
        raise NotImplementedError


def warped(image: np.ndarray, change: PlaneChange) -> np.ndarray:
    """Return the image, uint8 (H, W, 3), after a change, bilinear, in one step."""
    centers = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    matrix = centers @ change.matrix @ np.linalg.inv(centers)
    return cv2.warpAffine(image, matrix[:2], change.size[::-1], flags=cv2.INTER_LINEAR)


def reduced_first(image: np.ndarray, change: PlaneChange) -> np.ndarray:
    """Return the image after a change, its whole area reduced to the scale of the change before the warp, so that little is skipped."""
    height, width = image.shape[:2]
    factor = float(np.sqrt(abs(np.linalg.det(change.matrix[:2, :2]))))
    if factor < 1:
        size = max(1, round(height * factor)), max(1, round(width * factor))
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
        change = scaled((height, width), size).undone((height, width)).then(change)
    return warped(image, change)


def reference(image: np.ndarray, change: PlaneChange) -> np.ndarray:
    """Return the image after a change as the mean of many samples in every pixel, float32 (h, w, 3)."""
    size = change.size[0] * FINE, change.size[1] * FINE
    fine = warped(image, from_matrix(np.diag([FINE, FINE, 1.0]) @ change.matrix, size))
    return cv2.resize(fine.astype(np.float32), change.size[::-1], interpolation=cv2.INTER_AREA)


def decibels(image: np.ndarray, expected: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio."""
    return float(10 * np.log10(255**2 / np.mean((image - expected) ** 2)))


def scene(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return an image, uint8 (H, W, 3), of structure at all scales: amplitudes fall with the frequency, as in photographs."""
    rows, columns = np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1])[None]
    spectrum = np.fft.fft2(rng.normal(size=(3, *size))) / np.maximum(np.hypot(rows, columns), 1 / max(size))
    values = np.fft.ifft2(spectrum).real
    return np.clip(128 + 50 * values / values.std(), 0, 255).astype(np.uint8).transpose(1, 2, 0).copy()


def main(argv: list[str]) -> int:
    """Print a table."""
    parser = make_parser("python -m benchmarks.one_warp", "python -m benchmarks.one_warp [FLAGS]", "Compare steps with one warp.")
    add_flags(parser, "rounds", Rounds)
    rounds = Rounds(**vars(parser.parse_args(argv))).rounds
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    ways: dict[str, Callable[[np.ndarray, PlaneChange], np.ndarray]] = {"one warp": warped, "reduced first": reduced_first}
    heads = "".join(f"{name:>26}" for name in ["steps", *ways])
    print(f"{'chain':50} {'image':>10}{heads}")
    for chain in CHAINS:
        augment = build_augment(chain).at(SEEN)
        for size in SIZES:
            image, found = scene(size, np.random.default_rng(0)), []
            for draw in range(rounds + 1):
                start = time.perf_counter()
                stepped = augment(Sample(image, Followed(unchanged(size))), numpy_rng(draw))
                times, target = [time.perf_counter() - start], stepped.target
                assert isinstance(target, Followed)
                images = [stepped.image]
                for way in ways.values():
                    start = time.perf_counter()
                    images.append(way(image, target.change))
                    times.append(time.perf_counter() - start)
                truth = reference(image, target.change)
                found.append([*times, *(decibels(each, truth) for each in images)])
            figures = np.median(np.array(found[1:]), axis=0)
            cells = [f"{spent * 1e3:13.2f} ms {sharp:6.1f} dB" for spent, sharp in zip(*np.split(figures, 2), strict=True)]
            print(f"{chain:50} {f'{size[1]}x{size[0]}':>10}{''.join(cells)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
