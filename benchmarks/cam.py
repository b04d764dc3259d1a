"""What batches bring: the time of a Grad-CAM an image, against the grad-cam package called image by image.

    python -m benchmarks.cam [--arch resnet18] [--images 64] [--device cuda]

Both give the heat of one class, at the size of the image. The package runs forward and backward through the whole network for
every image; Darkroom runs batches forward without a gradient, in bf16 where the hardware has it, and only the head backward.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from applications.explain.heat_maps import ExplainedBatch, Explainer, heat_maps, load_package
from models import build_model
from models.backbone import Backbone
from utils.flags import add_flags, flag, make_parser
from utils.runtime import choose_precision

# The goal: this many times as fast as calls of the package with one image.
GOAL = 5.0
BATCH = 32


@dataclass(frozen=True)
class CamOptions:
    """What is measured."""

    arch: str = flag("resnet18", "network of this tree whose last stage is called layer4")
    images: int = flag(64, "images of a round")
    image_size: int = flag(224, "input height and width")
    rounds: int = flag(3, "rounds; the sides take turns, and medians are compared")
    device: str = flag("cpu", "where to compute", metavar="cpu|cuda")
    package_images: int = flag(16, "images that the package is given in a round")


def by_package(model: Backbone, images: Tensor, classes: list[int]) -> np.ndarray:
    """Return the heat (N, H, W), image by image."""
    package = load_package()
    target = package.utils.model_targets.ClassifierOutputTarget
    with package.GradCAM(model, [model.get_submodule("layer4")]) as cam:
        return np.concatenate([cam(image[None], [target(label)]) for image, label in zip(images, classes, strict=True)])


def in_batches(model: Backbone, images: Tensor, classes: list[int]) -> np.ndarray:
    """Return the heat (N, H, W), a batch at a time; the search for the map is part of it."""
    height, width = images.shape[-2:]
    dtype = choose_precision("auto", images.device).dtype
    eye, found = Explainer(model, "benchmark", (height, width), dtype), []
    for start in range(0, len(images), BATCH):
        labels = torch.tensor(classes[start : start + BATCH], device=images.device)
        heat = heat_maps("grad-cam", ExplainedBatch(eye, images[start : start + BATCH]), labels)
        found += [cv2.resize(each, (width, height)) for each in heat]
    return np.stack(found)


def seconds_an_image(call: Callable[[], np.ndarray]) -> float:
    """Return the time of a call for each image that it answers for."""
    start = time.perf_counter()
    count = len(call())
    return (time.perf_counter() - start) / count


def main(argv: list[str]) -> int:
    """Print the times and their ratio; return 0 when the goal is reached."""
    parser = make_parser("python -m benchmarks.cam", "python -m benchmarks.cam [FLAGS]", "Measure Grad-CAM in batches.")
    add_flags(parser, "what is measured", CamOptions)
    options = CamOptions(**vars(parser.parse_args(argv)))
    torch.manual_seed(0)
    model = build_model(options.arch, num_classes=10).eval().to(options.device).to(memory_format=torch.channels_last)
    images = torch.randn(options.images, 3, options.image_size, options.image_size, device=options.device)
    images = images.contiguous(memory_format=torch.channels_last)
    classes = [number % 10 for number in range(len(images))]
    few = min(options.package_images, options.images)
    sides = {
        "package": lambda: by_package(model, images[:few], classes[:few]),
        "darkroom": lambda: in_batches(model, images, classes),
    }
    difference = np.abs(sides["package"]() - sides["darkroom"]()[:few]).max()
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, side in sides.items():
            times[name].append(seconds_an_image(side))
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["package"] / medians["darkroom"]
    for name, median in medians.items():
        print(f"{name:<9} {1e3 * median:8.2f} ms per image")
    print(f"{options.arch} at {options.image_size} on {options.device}: {ratio:.2f} times as fast (goal {GOAL:g})")
    print(f"heat, from 0 to 1, differs by {difference:.1e} at most")
    return 0 if ratio >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
