"""Golden losses: what ten kinds of training compute, stored so that a change of the code that is to change no figure cannot.

python -m tests.golden.recorder          compute them anew and overwrite losses.json: only where the figures are meant to change
"""

import csv
import hashlib
import json
import multiprocessing
import os
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torchvision

import main
from applications.progress import Observer, Progress
from applications.training import train
from dataloader.sources.digits import write_digits
from dataloader.sources.lists import join_labels
from dataloader.sources.shapes import CLASSES, scene, write_png

STORED = Path(__file__).parent / "losses.json"
# 20 steps of 32 images, in two epochs.
COMMON = (
    *("--arch", "resnet18", "--image_size", 16, 16, "--epoch_size", 320, "-b", 32, "--epochs", 2, "-j", 0),
    *("--precision", "fp32", "--device", "cpu", "--opt", "sgd", "--lr", 0.02, "--wd", 0.01, "--warmup", 1, "--print_freq", 50),
)
CONFIGURATIONS: dict[str, tuple[object, ...]] = {
    "classify": ("--aug", "crop(0.1)|rotate(10)", "--label_smoothing", 0.1),
    "multilabel": ("--criterion", "bce|ghm"),
    "mixup_ema": ("--mixup", "--cutmix", "--ema", 0.9),
    "accumulate": ("--accumulate", 2, "--clip_grad", 1),
    "distill": ("--teacher", "runs/classify/classify", "--distill_features", "cosine"),
    "curriculum": ("--curriculum", "selfpaced(start=0.5,until=0.7)"),
    "sam": ("--sam", 0.05),
    "segment": (
        "--task",
        "segment",
        "--arch",
        "unet",
        "--encoder",
        "mobilenetv3_small",
        "--aug",
        "flip|rotate(10)",
        "--image_size",
        32,
        32,
    ),
    "detect": ("--task", "detect", "--arch", "yolox_nano", "--aug", "flip", "--image_size", 32, 32),
    "two_processes": ("--criterion", "softmax|ghm"),
}
FIGURES = ("train_loss", "val_loss", "val_top1", "val_mAP", "val_mIoU", "val_AP")
# Configurations of other data and another task than digits.
DATA = {"multilabel": "labels.csv", "segment": "scenes", "detect": "framed"}
TASKS = {"multilabel": "multilabel", "segment": "segment", "detect": "detect"}
SCENES = {"train": 40, "val": 8}


class Recorder(Observer):
    """Keeps the mean loss of every step of this process."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self._before = 0.0, 0

    def begin(self, progress: Progress, batches: int) -> None:
        del batches
        self._before = float(progress.sums.get("loss", 0.0)), progress.samples

    def step(self, progress: Progress) -> None:
        total, samples = float(progress.sums["loss"]), progress.samples
        self.losses.append((total - self._before[0]) / (samples - self._before[1]))
        self._before = total, samples


def prepare(folder: Path) -> None:
    """Write the digits, a list of them with several labels each, and scenes with masks and with boxes into a folder."""
    for number in range(sum(SCENES.values())):
        made, split = scene(number, side=32), "train" if number < SCENES["train"] else "val"
        for place, pixels in (("scenes/images", made.image), ("scenes/masks", made.mask), ("framed/images", made.image)):
            (folder / place / split).mkdir(parents=True, exist_ok=True)
            write_png(pixels, folder / place / split / f"{number}.png")
        (folder / "framed/labels" / split).mkdir(parents=True, exist_ok=True)
        shares = np.concatenate([(made.boxes[:, :2] + made.boxes[:, 2:]) / 2, made.boxes[:, 2:] - made.boxes[:, :2]], axis=1) / 32
        lines = (f"{label} {' '.join(map(str, box))}\n" for label, box in zip(made.classes.tolist(), shares.tolist(), strict=True))
        (folder / "framed/labels" / split / f"{number}.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "framed/data.yaml").write_text(f"names: {list(CLASSES)}\n", encoding="utf-8")
    write_digits(folder / "digits")
    rows = [("image", "labels", "split")]
    for path in sorted((folder / "digits").rglob("*.png")):
        digit = int(path.parent.name)
        labels = ["even" if digit % 2 == 0 else "odd", *(["round"] if digit in (0, 6, 8, 9) else []), *(["low"] if digit < 4 else [])]
        rows.append((str(path.relative_to(folder)), join_labels(labels), path.parent.parent.name))
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def compute(name: str, folder: Path) -> dict[str, Any]:
    """Train a configuration in a folder that `prepare` has seen; return the losses of its steps and the figures of its epochs."""
    if name == "two_processes":
        return _compute_by_two(name, folder)
    return _compute_here(name, folder)


def _compute_here(name: str, folder: Path) -> dict[str, Any]:
    os.chdir(folder)
    recorder = Recorder()
    build = train.build_observers

    def with_recorder(*args: Any, **kwargs: Any) -> list[Observer]:
        return [*build(*args, **kwargs), recorder]

    argv = ["--data", DATA.get(name, "digits"), *COMMON, *CONFIGURATIONS[name], "--name", name]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with patch.object(train, "build_observers", with_recorder):
            code = main.main([str(part) for part in argv])
    finally:
        torch.set_num_threads(threads)
    assert code == 0, f"{name} ended with {code}"
    run = folder / "runs" / TASKS.get(name, "classify") / name
    if not (run / "metrics.csv").is_file():
        return {}
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as lines:
        epochs = [{key: float(value) for key, value in row.items() if key in FIGURES} for row in csv.DictReader(lines)]
    return {"losses": recorder.losses, "epochs": epochs}


def _compute_by_two(name: str, folder: Path) -> dict[str, Any]:
    """Compute in two processes; the losses are those of the first."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [context.Process(target=_one_of_two, args=(name, folder, rank, port, answers)) for rank in range(2)]
    for process in both:
        process.start()
    found = answers.get(timeout=300)
    for process in both:
        process.join(60)
    return found


def _one_of_two(name: str, folder: Path, rank: int, port: int, answers: Any) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    found = _compute_here(name, folder)
    if rank == 0:
        answers.put(found)
    # As main.py does: threads between processes may abort an interpreter that shuts down.
    answers.close()
    answers.join_thread()
    os._exit(0)


def stored() -> Mapping[str, Any]:
    """Return what was computed before, and on which CPU."""
    return json.loads(STORED.read_text(encoding="utf-8"))


def rounding() -> str:
    """Return a word for how this CPU rounds: a hash of the gradients of two networks of torchvision.

    Kernels sum in another order for every family of CPUs, whose names and instructions do not tell them apart.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = hashlib.sha256()
    try:
        for build in (torchvision.models.resnet18, torchvision.models.mobilenet_v3_small):
            torch.manual_seed(0)
            network = build(num_classes=10).train()
            network(torch.linspace(-1, 1, 8 * 3 * 32 * 32).sin().reshape(8, 3, 32, 32)).square().mean().backward()
            for parameter in network.parameters():
                assert parameter.grad is not None
                found.update(parameter.grad.numpy().tobytes())
    finally:
        torch.set_num_threads(threads)
    return found.hexdigest()[:12]


def record() -> None:
    """Compute all configurations and store them."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder)
        found = {name: compute(name, folder) for name in CONFIGURATIONS}
        os.chdir(Path(__file__).parent)
    content = {"rounding": rounding(), "configurations": found}
    STORED.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(record())
