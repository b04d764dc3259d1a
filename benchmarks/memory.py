"""What --evaluation takes in memory and time: 50,000 images of 1,000 classes, generated, through the whole of it.

    python -m benchmarks.memory [--images 50000] [--classes 1000] [--split val]

The network makes logits of the number that is written in the pixels of each image; all else is what a user runs: loader, meter,
--target, predictions.csv, tables, pictures, report. What is counted is the peak of the process above what it held with the model
loaded, in a process of its own.
"""

import io
import resource
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from applications.evaluation import evaluate, labels
from applications.settings.options import Request, RunConfig
from applications.trained.checkpoint import Trained
from dataloader.images.preprocess import Preprocess
from dataloader.splits.split import Split, Stamp
from models.backbone import Backbone, FeatureInfo
from utils.flags import add_flags, flag, make_parser

GOAL = 1.5e9
SIDE = 8


@dataclass(frozen=True)
class MemoryOptions:
    """Sizes."""

    images: int = flag(50_000, "of the split")
    classes: int = flag(1_000, "width of the answer")
    split: str = flag("test", "val looks at the images that the temperature was fitted on, which takes more")
    target: str = flag("error<=0.1", "the promise of --target")


@dataclass(frozen=True)
class NumberedImages:
    """Images of 8x8 pixels that hold their number: a store of no files."""

    def read_bytes(self, file: str) -> bytes:
        number = int(Path(file).stem)
        pixels = np.full((SIDE, SIDE, 3), [number % 256, number // 256 % 256, number // 65536], dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "png")
        return stream.getvalue()

    def stamp(self, file: str) -> Stamp:
        del file
        return Stamp(1, 0)


def numbers_in(x: Tensor) -> Tensor:
    """Return the numbers (N,) of images in 0..1, (N, 3, H, W)."""
    red, green, blue = x[:, :, 0, 0].mul(255).round().long().T
    return red + 256 * green + 65536 * blue


class GeneratedLogits(Backbone):
    """Takes numbered images, answers logits (N, C) that are right for about three of four: noise, and more for one class."""

    def __init__(self, images: int, classes: int) -> None:
        super().__init__()
        self.images = images
        self.num_classes = classes
        self.classifier = nn.Linear(32, classes)
        nn.init.normal_(self.classifier.weight, std=0.25, generator=torch.Generator().manual_seed(0))

    @property
    def feature_info(self) -> list[FeatureInfo]:
        return [FeatureInfo(32, SIDE)]

    def forward_features(self, x: Tensor) -> list[Tensor]:
        waves = numbers_in(x)[:, None].double() * torch.arange(1, 33)
        return [torch.sin(waves).float()[:, :, None, None]]

    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        vectors = maps[0].flatten(1)
        return vectors if pre_logits else self.classifier(vectors)

    def forward(self, x: Tensor) -> Tensor:
        # Who looks for maps asks about images that are no numbers.
        numbers = numbers_in(x).clamp(0, self.images - 1)
        noise = self.forward_head(self.forward_features(x))
        truth, is_right = numbers * self.num_classes // self.images, numbers * 7919 % 100 < 75
        meant = torch.where(is_right, truth, (truth + numbers % 5 + 1) % self.num_classes)
        sure = torch.where(is_right, 8.0, 4.0) + 3 * torch.cos(numbers.double()).float()
        return noise + nn.functional.one_hot(meant, self.num_classes) * sure[:, None]

    def get_classifier(self) -> nn.Linear:
        return self.classifier


def make_split(name: str, images: int, classes: int) -> Split:
    """Return numbered images, class by class."""
    paths = tuple(f"{number:06d}.png" for number in range(images))
    return Split(name, Path("numbered"), paths, np.arange(images) * classes // images, store=NumberedImages())


def make_trained(options: MemoryOptions, folder: Path) -> Trained:
    """Return a model that answers the images."""
    values: dict[str, Any] = {"data": "numbered", "image_size": (SIDE, SIDE), "batch_size": 256, "workers": 0, "resume": str(folder)}
    config = RunConfig().override({**values, "target": options.target, "logdir": str(folder), "device": "cpu"})
    preprocess = Preprocess(image_size=(SIDE, SIDE), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    model = GeneratedLogits(options.images, options.classes).eval()
    file = folder / "best.pt"
    torch.save({}, file)
    classes = tuple(f"class {number:04d}" for number in range(options.classes))
    about = {"averaging": None, "epoch": 1}
    return Trained(path=file, task="classify", config=config, classes=classes, preprocess=preprocess, model=model, **about)


def resident_bytes() -> int:
    """Return what the process holds in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main(argv: list[str]) -> int:
    """Print the peak and the time; return 1 where the goal is missed."""
    purpose = "Measure what --evaluation takes beside the model."
    parser = make_parser("python -m benchmarks.memory", "python -m benchmarks.memory [FLAGS]", purpose)
    add_flags(parser, "sizes", MemoryOptions)
    options = MemoryOptions(**vars(parser.parse_args(argv)))
    with TemporaryDirectory() as place:
        trained = make_trained(options, Path(place))
        asked, validation = (make_split(name, options.images, options.classes) for name in (options.split, "val"))
        before, begun = resident_bytes(), time.perf_counter()
        with (
            patch.object(evaluate, "load_model", lambda *_: replace(trained)),
            patch.object(labels, "open_held_out", lambda *_: asked),
            patch.object(labels, "open_validation", lambda *_: validation),
        ):
            evaluate.run(Request("evaluation", trained.config))
        seconds = time.perf_counter() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    size, logits = f"{options.images:,} x {options.classes:,}", options.images * options.classes * 4
    print(f"{size}: {peak / 1e9:.2f} GB beside the model in {seconds:.0f} s; the logits alone {logits / 1e9:.2f} GB")
    print(f"goal: under {GOAL / 1e9} GB: {'reached' if peak < GOAL else 'missed'}")
    return 0 if peak < GOAL else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
