"""Small data sets of masks and of defects, and flags of runs that take a second."""

from pathlib import Path

import numpy as np

from dataloader.sources.shapes import CLASSES, scene, write_png
from dataloader.sources.weave import KINDS, piece

COUNTS = {"train": 16, "val": 6, "test": 4}
SEGMENT = (
    *("--task", "segment", "--arch", "unet", "--encoder", "mobilenetv3_small", "--image_size", 32, 32, "-b", 8, "--workers", 0),
    *("--lr", 0.01, "--warmup", 0, "--precision", "fp32"),
)
SIDE = 64
ANOMALY = ("--arch", "padim(dims=30)", "--encoder", "mobilenetv3_small", "--workers", 0)


def write_scenes(home: Path) -> Path:
    """Write images of 48 pixels, with masks and the table of their classes."""
    first = 0
    for split, count in COUNTS.items():
        for folder in ("images", "masks"):
            (home / folder / split).mkdir(parents=True)
        for number in range(first, first + count):
            made = scene(number, side=48)
            write_png(made.image, home / "images" / split / f"{number:03d}.png")
            write_png(made.mask, home / "masks" / split / f"{number:03d}.png")
        first += count
    (home / "masks" / "labels.csv").write_text("id,name\n" + "".join(f"{k},{name}\n" for k, name in enumerate(("ground", *CLASSES))))
    return home


def write_cloth(folder: Path, *, good: int = 24, tested: int = 6, defective: int = 3) -> Path:
    """Write a small cloth in the layout of MVTec AD."""
    number = 0
    for split, count in (("train", good), ("test", tested)):
        (folder / split / "good").mkdir(parents=True)
        for _ in range(count):
            write_png(piece(number, side=SIDE).image, folder / split / "good" / f"{number:03d}.png")
            number += 1
    for kind in KINDS:
        for name in ("test", "ground_truth"):
            (folder / name / kind).mkdir(parents=True)
        for _ in range(defective):
            made = piece(number, side=SIDE, kind=kind)
            write_png(made.image, folder / "test" / kind / f"{number:03d}.png")
            write_png(np.where(made.defect, 255, 0).astype(np.uint8), folder / "ground_truth" / kind / f"{number:03d}_mask.png")
            number += 1
    return folder
