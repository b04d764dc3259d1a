"""The picture at the head of README.md: where a network looked in photographs, and the figures of a report.

    pip install scikit-image
    python -m benchmarks.readme_picture            # writes docs/images/first.png, in about a minute

The photographs come with scikit-image and are free of copyright: the cat (Stefan van der Walt, CC0), the coffee (Rachel Michetti, CC0),
the rocket (SpaceX, public domain), the photographer (Lav Varshney, CC0), the astronaut (NASA, public domain), brick, grass and gravel
(CC0Textures, CC0). The heat maps are of torchvision's MobileNetV2 for ImageNet, read from pretrained/ or downloaded there. The
report is of the same network with a classifier of its own, which says from which photograph a piece of 64x64 pixels comes: it learns
from the left of each photograph and is tested on the right.
"""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from applications.explain.heat_overlays import displayable, explain, normalized
from applications.settings.options import RunConfig
from applications.trained.checkpoint import Trained
from benchmarks.shared import ROOT
from dataloader.images.preprocess import Preprocess
from models import build_model
from models.weights import load_published
from utils.drawing.images import sheet
from utils.drawing.lettering import Pen
from utils.randomness import numpy_rng

ARCH = "torchvision/mobilenet_v2"
# Name in the picture -> name in skimage.data.
PHOTOGRAPHS = {"cat": "chelsea", "coffee": "coffee", "rocket": "rocket", "photographer": "camera"}
OTHERS = {"astronaut": "astronaut", "brick": "brick", "grass": "grass", "gravel": "gravel"}
TARGET = ROOT / "docs/images/first.png"
# Where pieces of each split lie, as shares of the width, and how many of each photograph there are.
SPLITS = {"train": (0.0, 0.5, 40), "val": (0.52, 0.7, 12), "test": (0.72, 1.0, 30)}
PIECE, SIDE, WIDTH = 64, 224, 460


def main() -> int:
    """Write the picture; return the exit code."""
    photographs = {name: photograph(source) for name, source in {**PHOTOGRAPHS, **OTHERS}.items()}
    left = heat_maps([photographs[name] for name in PHOTOGRAPHS])
    with tempfile.TemporaryDirectory() as place:
        right = report(evaluate(photographs, Path(place)), left.shape[0])
    picture = Image.fromarray(np.hstack((left, right)))
    picture.save(TARGET, optimize=True)
    print(f"wrote {TARGET}: {picture.width}x{picture.height}, {TARGET.stat().st_size / 1000:.0f} kB")
    return 0


def photograph(source: str) -> np.ndarray:
    """Return a photograph of scikit-image, uint8 (H, W, 3)."""
    from skimage import data  # pyright: ignore[reportMissingImports]

    image = np.asarray(getattr(data, source)())
    return np.ascontiguousarray(image if image.ndim == 3 else np.stack([image] * 3, 2))


def heat_maps(images: list[np.ndarray]) -> np.ndarray:
    """Return the photographs as the network sees them, and below them where it looked, uint8 (H, W, 3)."""
    from torchvision.models import MobileNet_V2_Weights

    names = tuple(MobileNet_V2_Weights.DEFAULT.meta["categories"])
    model = build_model(ARCH, num_classes=len(names))
    load_published(model, ARCH, folder=ROOT / "pretrained")
    preprocess = Preprocess(resize="crop")
    settings = RunConfig().override({"arch": ARCH, "resize": "crop"})
    about = {"path": Path("pretrained"), "averaging": None, "epoch": 0}
    trained = Trained(task="classify", config=settings, classes=names, preprocess=preprocess, model=model.eval(), **about)
    pictures = [preprocess.apply(image) for image in images]
    with torch.inference_mode():
        shares, answers = model(normalized(trained, pictures)).softmax(1).max(1)
    maps = explain(trained, images, answers.tolist())
    captions = [f"{names[answer]}: {share:.0%}" for answer, share in zip(answers.tolist(), shares.tolist(), strict=True)]
    return sheet([*map(displayable, pictures), *maps], [*("" for _ in images), *captions], columns=len(images), side=SIDE)


def evaluate(photographs: dict[str, np.ndarray], place: Path) -> Path:
    """Train and evaluate a network on pieces of the photographs; return the folder of the evaluation."""
    for number, (name, image) in enumerate(photographs.items()):
        for split, (first, last, count) in SPLITS.items():
            (place / "pieces" / split / name).mkdir(parents=True)
            rng = numpy_rng(number, count)
            for index in range(count):
                x = int(rng.integers(int(first * image.shape[1]), int(last * image.shape[1]) - PIECE + 1))
                y = int(rng.integers(0, image.shape[0] - PIECE + 1))
                Image.fromarray(image[y : y + PIECE, x : x + PIECE]).save(place / "pieces" / split / name / f"{index:02d}.png")
    run = ["--logdir", str(place / "runs"), "--name", "first"]
    data = ["--data", str(place / "pieces"), "--image_size", str(PIECE), str(PIECE)]
    settings = ["--arch", ARCH, "--pretrained", "--freeze", "backbone", "--epochs", "6", "--warmup", "0.5", "--lr", "0.01"]
    subprocess.run([sys.executable, "main.py", *data, *settings, *run], cwd=ROOT, check=True)
    trained = place / "runs/classify/first"
    subprocess.run([sys.executable, "main.py", "--evaluation", "--resume", str(trained)], cwd=ROOT, check=True)
    return trained / "evaluation-test"


def report(folder: Path, height: int) -> np.ndarray:
    """Return the first figures and the confusion matrix of an evaluation, uint8 (height, WIDTH, 3)."""
    paper = Image.new("RGB", (WIDTH, height), (255, 255, 255))
    pen = Pen(ImageDraw.Draw(paper), 16)
    with (folder / "figures/intervals.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["figure"] in ("top1", "calibration error")]
    for number, row in enumerate(rows):
        value, low, high = (f"{100 * float(row[name]):.1f}" for name in ("value", "low", "high"))
        pen.write((30, 12 + 24 * number), f"{row['figure']} {value}%, 95% interval {low} to {high}", fill=(40, 40, 40))
    top = 20 + 24 * len(rows)
    with Image.open(folder / "confusion.png") as opened:
        matrix = opened.convert("RGB")
    matrix.thumbnail((WIDTH - 20, height - top), Image.Resampling.LANCZOS)
    paper.paste(matrix, (20, top))
    return np.asarray(paper)


if __name__ == "__main__":
    sys.exit(main())
