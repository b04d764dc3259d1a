"""Segmentation beside the loop that users of segmentation_models.pytorch write: images a second, and mIoU after as many minutes.

    python -m benchmarks.segment DATA WEIGHTS [--minutes 4] [--only speed|accuracy]

DATA is a folder in the layout of docs/segment.md with a label table, such as CamVid; WEIGHTS a file of torchvision's mobilenet_v2.
`pip install segmentation-models-pytorch` first.

speed     a U-Net on mobilenet_v2, 256 x 352, batch 8: Darkroom by its defaults, and a plain loop of AdamW, cross entropy and a
          DataLoader of two processes, in fp32 and in bf16 with channels-last; they take turns, and the medians are compared
accuracy  test mIoU of `--minutes M`, and of the loops after as many minutes
"""

import argparse
import csv
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.shared import ROOT, machine_share, run_quietly
from dataloader.images.preprocess import fit_change, fit_pixels
from dataloader.opening.open_catalog import open_catalog
from dataloader.splits.split import Split
from dataloader.targets.mask import IGNORE, Mask
from dataloader.truth_reading import TruthReading
from models.published import IMAGENET_MEAN, IMAGENET_STD
from utils.timing import CpuContention

SIZE, BATCH, RATE = (256, 352), 8, 1e-3
KINDS = ("fp32", "bf16")


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """Normalized images and masks of a split, decoded each time; half of them mirrored in training."""

    def __init__(self, split: Split, *, mirrored: bool) -> None:
        self.split, self.mirrored = split, mirrored

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pixels, target = self.split.read(index), self.split.target(index)
        assert isinstance(target, Mask)
        ids = target.moved(fit_change(target.image_size(), SIZE, "stretch")).ids
        fitted = fit_pixels(pixels, *SIZE, "stretch")
        if self.mirrored and torch.rand(()) < 0.5:
            fitted, ids = fitted[:, ::-1], ids[:, ::-1]
        image = (fitted.astype(np.float32) / 255 - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_STD, np.float32)
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), torch.from_numpy(np.ascontiguousarray(ids)).long()


def peer_network(weights: Path, classes: int) -> torch.nn.Module:
    """Return the library's U-Net, its encoder with the same published weights."""
    import segmentation_models_pytorch as smp  # pyright: ignore[reportMissingImports]

    network = smp.Unet("mobilenet_v2", encoder_weights=None, classes=classes)
    state = torch.load(weights, weights_only=True)
    network.encoder.load_state_dict({name: state[name] for name in network.encoder.state_dict()})
    return network


def peer_loop(kind: str, data: str, weights: Path, *, labels: str | None, seconds: float, test: bool) -> tuple[float, float]:
    """Train for so many seconds; return images/s without the first three steps, and the test mIoU at the size of the network (or nan)."""
    torch.manual_seed(0)
    catalog = open_catalog(data, target=Mask, reading=TruthReading(labels=labels))
    classes = len(catalog.classes)
    network = peer_network(weights, classes)
    layout = torch.channels_last if kind == "bf16" else torch.contiguous_format
    network = network.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    loader = DataLoader(
        Pairs(catalog.splits["train"], mirrored=True), BATCH, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True
    )
    begin, start, images, steps = time.perf_counter(), 0.0, 0, 0
    network.train()
    while time.perf_counter() - begin < seconds:
        for pixels, truth in loader:
            if steps == 3:
                start, images = time.perf_counter(), 0
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=kind == "bf16"):
                logits = network(pixels.to(memory_format=layout))
            loss = F.cross_entropy(logits.float(), truth, ignore_index=IGNORE)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            images, steps = images + len(pixels), steps + 1
            if time.perf_counter() - begin > seconds:
                break
    return images / (time.perf_counter() - start), mean_iou(network, catalog.splits["test"], classes) if test else float("nan")


def mean_iou(network: torch.nn.Module, split: Split, classes: int) -> float:
    """Return the mIoU over the classes that occur."""
    network.eval()
    counts = torch.zeros(classes, classes, dtype=torch.int64)
    with torch.no_grad():
        for pixels, truth in DataLoader(Pairs(split, mirrored=False), BATCH, num_workers=2):
            known = truth != IGNORE
            pairs = truth[known] * classes + network(pixels).argmax(1)[known]
            counts += torch.bincount(pairs, minlength=classes * classes).view(classes, classes)
    hits, union = counts.diag(), counts.sum(0) + counts.sum(1) - counts.diag()
    occurs = counts.sum(1) > 0
    return float((hits / union.clamp(min=1))[occurs].mean())


def darkroom_flags(options: argparse.Namespace) -> list[str]:
    """Return the flags of main.py, by defaults otherwise."""
    flags = ["--task", "segment", "--data", str(options.data.resolve()), "--arch", "unet", "--encoder", "torchvision/mobilenet_v2"]
    flags += ["--init_from", str(options.weights.resolve()), "--image_size", *map(str, SIZE), "-b", str(BATCH), "--aug", "flip"]
    labels = ["--labels", options.labels] if options.labels else []
    return [*flags, "--opt", "adamw", "--lr", str(RATE), *labels]


def compare_speed(options: argparse.Namespace) -> None:
    """Let the three take turns, and print the ratios of the medians."""
    speeds: dict[str, list[float]] = {"darkroom": [], **{kind: [] for kind in KINDS}}
    contention = CpuContention()
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="darkroom-segment-") as runs:
            command = [sys.executable, str(ROOT / "main.py"), *darkroom_flags(options), "--epochs", "3", "--logdir", runs]
            run_quietly([*command, "--epoch_size", str(options.images)])
            (table,) = Path(runs).glob("*/*/metrics.csv")
            with table.open(newline="", encoding="utf-8") as file:
                # The first epoch chooses kernels, as the first steps of the loops do.
                speeds["darkroom"].append(statistics.median(float(row["images_per_second"]) for row in list(csv.DictReader(file))[1:]))
        for kind in KINDS:
            speeds[kind].append(peer(kind, options, seconds=options.images / 6, test=False)[0])
        print(f"  round {number + 1}  " + "  ".join(f"{kind} {values[-1]:.2f}" for kind, values in speeds.items()), flush=True)
    medians = {kind: statistics.median(values) for kind, values in speeds.items()}
    ratios = "  ".join(f"darkroom / {kind} {medians['darkroom'] / medians[kind]:.2f}" for kind in KINDS)
    print(
        "  ".join(f"{kind} {value:.2f}" for kind, value in medians.items()) + f" images/s  {ratios}  ({machine_share(contention)})",
        flush=True,
    )


def peer(kind: str, options: argparse.Namespace, *, seconds: float, test: bool) -> tuple[float, float]:
    """Run a loop of the library in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.segment", str(options.data), str(options.weights), "--peer", kind]
    command += ["--seconds", str(seconds), *(["--test"] if test else []), *(["--labels", options.labels] if options.labels else [])]
    speed, reached = run_quietly(command).split()[-2:]
    return float(speed), float(reached)


def compare_accuracy(options: argparse.Namespace) -> None:
    """Print test mIoU after as many minutes of training."""
    with tempfile.TemporaryDirectory(prefix="darkroom-segment-") as runs:
        main_py = [sys.executable, str(ROOT / "main.py")]
        run_quietly([*main_py, *darkroom_flags(options), "--minutes", str(options.minutes), "--logdir", runs])
        (folder,) = Path(runs).glob("*/*")
        answer = run_quietly([*main_py, "--evaluation", "--resume", str(folder)])
        print(
            f"darkroom, {options.minutes:g} minutes: " + next(line for line in reversed(answer.splitlines()) if "mIoU" in line), flush=True
        )
    for kind in KINDS:
        speed, reached = peer(kind, options, seconds=options.minutes * 60, test=True)
        print(f"{kind} loop, {options.minutes:g} minutes: test mIoU {reached:.1%}, {speed:.2f} images/s", flush=True)


def main() -> int:
    """Compare, or be the loop that is compared."""
    parser = argparse.ArgumentParser(description="Segmentation beside segmentation_models.pytorch.")
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--labels", help="table of the classes")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=160, help="of a round of the speeds")
    parser.add_argument("--only", choices=("speed", "accuracy"))
    parser.add_argument("--peer", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=60.0, help=argparse.SUPPRESS)
    parser.add_argument("--test", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        print(
            *peer_loop(options.peer, str(options.data), options.weights, labels=options.labels, seconds=options.seconds, test=options.test)
        )
        return 0
    if options.only != "accuracy":
        compare_speed(options)
    if options.only != "speed":
        compare_accuracy(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
