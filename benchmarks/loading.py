"""How fast do images reach the training step, beside torchvision's ImageFolder?

    python -m benchmarks.loading

JPEG files of 500x375, random resized crop to 224 and flip, in batches; nothing is trained. The sides take turns, each in a
process of its own, with equal numbers of loader processes and equal batches; the first epoch of each is not counted:

- torchvision: `ImageFolder`, `v2.RandomResizedCrop`, `v2.RandomHorizontalFlip`, `v2.PILToTensor` and torch's `DataLoader` with
  persistent workers. Batches are uint8, channels-first: nothing is converted or normalized, so no other pipeline of
  torchvision does less.
- float: the same with what training scripts usually add, `v2.ToDtype(torch.float32, scale=True)` and `v2.Normalize`.
- darkroom: `Loader` with the same two operations; batches are uint8, channels-last. It normalizes on the device.
- ram, disk: the same with --cache ram and --cache disk, filled before the clock starts.

Then `python main.py` trains resnet18 at 224 with its defaults, and the share of an epoch that it waits for data is read from
metrics.csv, the first epoch left out.

Goals: darkroom >= 1.5 x torchvision, disk >= 4 x torchvision, waiting < 2%.
"""

import argparse
import csv
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.shared import darkroom_speed, machine_share, processor_seconds, run_quietly, write_pictures
from utils.cores import available_cores
from utils.timing import CpuContention

SIDES = ("torchvision", "float", "darkroom", "ram", "disk")
GOALS = {"darkroom": 1.5, "disk": 4.0}
WAITING_GOAL = 0.02


@dataclass(frozen=True)
class RandomResizedCrop:
    """Cut a random rectangle of 8 to 100% of the area, of a shape from 3:4 to 4:3, and resize it (arXiv 1409.4842)."""

    size: int

    def __call__(self, sample: Any, rng: Any) -> Any:
        from dataloader.images.preprocess import fit_pixels

        high, wide = sample.image.shape[:2]
        top, left, height, width = 0, 0, high, wide
        for _ in range(10):
            area, shape = high * wide * rng.uniform(0.08, 1), math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
            across, down = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if 0 < across <= wide and 0 < down <= high:
                top, left, height, width = int(rng.integers(high - down + 1)), int(rng.integers(wide - across + 1)), down, across
                break
        cut = sample.image[top : top + height, left : left + width]
        return replace(sample, image=fit_pixels(cut, self.size, self.size, "stretch"))


def torchvision_loader(folder: Path, options: argparse.Namespace, *, to_float: bool) -> Any:
    """Return a DataLoader over ImageFolder as training scripts write it."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    steps: list[Any] = [v2.RandomResizedCrop(options.size), v2.RandomHorizontalFlip(), v2.PILToTensor()]
    if to_float:
        steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    return DataLoader(
        ImageFolder(str(folder / "train"), v2.Compose(steps)),
        batch_size=options.batch,
        shuffle=True,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
    )


def darkroom_loader(folder: Path, options: argparse.Namespace, cache: str) -> Any:
    """Return Darkroom's Loader of the training images, its cache filled."""
    from applications.assemble.caching import build_cache_policy, open_cache
    from dataloader.augment.chain import Augment
    from dataloader.augment.flip import Flip
    from dataloader.images.preprocess import Preprocess
    from dataloader.loading.loader import Loader
    from dataloader.opening.open_catalog import open_catalog
    from dataloader.options import DataOptions
    from utils.distributed import World
    from utils.runtime import keep_freed_memory

    # As every call of main.py on the CPU does.
    keep_freed_memory()
    split = open_catalog(str(folder)).splits["train"]
    preprocess = Preprocess((options.size, options.size))
    data = DataOptions(cache=cache, cache_dir=str(folder.parent / "cache"), workers=options.workers, aug="default")  # pyright: ignore[reportArgumentType]
    keep = build_cache_policy(data, preprocess, training=True)
    read = None if cache == "off" else open_cache(data, split, keep, World()).read_picture
    augment = Augment((RandomResizedCrop(options.size), Flip()))
    settings = {"batch_size": options.batch, "workers": options.workers, "seed": 0}
    return Loader(split, preprocess, augment=augment, shuffle=True, read=read, **settings)


class Walks(Iterable[Any], Sized):
    """Epochs of Darkroom's Loader, one for every time that it is iterated."""

    def __init__(self, loader: Any) -> None:
        self.loader, self.epoch = loader, -1

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Any:
        self.epoch += 1
        return self.loader.batches(self.epoch)


def loading_speed(side: str, folder: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Return images/s of a side and its processor time in ms per image, medians of all epochs but the first."""
    if side in ("torchvision", "float"):
        loader = torchvision_loader(folder, options, to_float=side == "float")
    else:
        loader = Walks(darkroom_loader(folder, options, "off" if side == "darkroom" else side))
    speeds, costs = [], []
    for _ in range(options.epochs):
        images, start, used = 0, time.perf_counter(), processor_seconds()
        for batch in loader:
            images += len(batch) if isinstance(loader, Walks) else len(batch[0])
        speeds.append(images / (time.perf_counter() - start))
        costs.append(1000 * (processor_seconds() - used) / images)
    return statistics.median(speeds[1:]), statistics.median(costs[1:])


def compare(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Let the sides take turns; return side -> median of its ratios to torchvision."""
    speeds: dict[str, list[float]] = {side: [] for side in options.sides}
    costs: dict[str, list[float]] = {side: [] for side in options.sides}
    settings = [f"--{name}={getattr(options, name)}" for name in ("size", "batch", "workers", "epochs")]
    for number in range(options.rounds):
        for side in speeds:
            text = run_quietly([sys.executable, "-m", "benchmarks.loading", "--only", side, "--data", str(folder), *settings])
            speed, cost = text.split()[-2:]
            speeds[side].append(float(speed))
            costs[side].append(float(cost))
        print(f"  round {number + 1}  " + "  ".join(f"{side} {values[-1]:.0f}" for side, values in speeds.items()), flush=True)
    base = speeds["torchvision"]
    ratios = {side: statistics.median(a / b for a, b in zip(values, base, strict=True)) for side, values in speeds.items()}
    print("  ".join(f"{side} {statistics.median(values):.0f}" for side, values in speeds.items()) + " images/s")
    print("CPU ms per image: " + "  ".join(f"{side} {statistics.median(values):.2f}" for side, values in costs.items()))
    print("compared with torchvision: " + "  ".join(f"{side} {ratio:.2f}" for side, ratio in ratios.items()), flush=True)
    return ratios


def waiting_share(folder: Path, options: argparse.Namespace, runs: Path) -> float:
    """Train resnet18 and return the share of an epoch that it waits for data, the median of all epochs but the first."""
    flags = ["--image_size", str(options.size), str(options.size), "-b", str(options.batch), "-j", str(options.workers)]
    speed = darkroom_speed(folder, "resnet18", runs, epochs=options.train_epochs, flags=flags)
    (table,) = runs.glob("*/*/metrics.csv")
    with table.open(newline="", encoding="utf-8") as file:
        shares = [float(row["data_wait"]) for row in csv.DictReader(file)]
    share = statistics.median(shares[1:])
    print(f"training resnet18 at {options.size}: {speed:.1f} images/s, waiting for data {share:.2%} of an epoch", flush=True)
    return share


def main() -> int:
    """Return 0 when the goals are reached, 1 otherwise."""
    parser = argparse.ArgumentParser(description="Loading speed of Darkroom and of torchvision's ImageFolder.")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES, help="what is measured; torchvision always is")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every side")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of a turn; the first is not counted")
    parser.add_argument("--train_epochs", type=int, default=3, help="epochs of the training run; 0 leaves it out")
    parser.add_argument("--batch", type=int, default=32, help="images a batch")
    parser.add_argument("--size", type=int, default=224, help="height and width of the model's input")
    parser.add_argument("--workers", type=int, default=min(8, available_cores()), help="loader processes of every side")
    parser.add_argument("--data", type=Path, help="folder with train/ and val/ of your own images instead of generated ones")
    parser.add_argument("--pictures", type=int, default=960, help="generated training images")
    parser.add_argument("--picture_size", type=int, nargs=2, default=(500, 375), metavar=("W", "H"), help="their size, as JPEG files")
    parser.add_argument("--only", choices=SIDES, help="measure this side once in this process and print images/s")
    options = parser.parse_args()
    if options.epochs < 2 or options.train_epochs == 1:
        parser.error("--epochs, --train_epochs: at least 2 are needed, since the first is not counted")
    # As in training scripts with loader processes: each computes with one thread.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if options.only:
        print(*loading_speed(options.only, options.data, options))
        return 0
    options.sides = tuple(dict.fromkeys(("torchvision", *options.sides)))
    with tempfile.TemporaryDirectory(prefix="darkroom-loading-") as place:
        data = options.data or write_pictures(Path(place) / "data", options.pictures, tuple(options.picture_size))
        kind = "own images" if options.data else "JPEG of {}x{}".format(*options.picture_size)
        print(
            f"{available_cores()} cores; {kind}, input {options.size}x{options.size}, batch {options.batch}, {options.workers} workers",
            flush=True,
        )
        contention = CpuContention()
        ratios = compare(data.resolve(), options)
        reached = all(ratios[side] >= goal for side, goal in GOALS.items() if side in ratios)
        if options.train_epochs:
            del os.environ["OMP_NUM_THREADS"]
            reached = waiting_share(data.resolve(), options, Path(place) / "runs") < WAITING_GOAL and reached
        print(machine_share(contention))
    goals = ", ".join(f"{side} >= {goal:g} x torchvision" for side, goal in GOALS.items())
    print(f"goals: {goals}, waiting < {WAITING_GOAL:.0%}: {'reached' if reached else 'missed'}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
