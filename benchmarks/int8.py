"""What 8 bits bring and cost: the time of one image and of several, and the accuracy, of OpenVINO and ONNX files beside those in fp32.

python -m benchmarks.int8 [--only times|lost] [--archs NAME ...] [--data DIR] [--out DIR]

Times, at 224 x 224, depend on no weights: files of untrained networks are asked in turns, on all cores. What is lost is measured by
python main.py, as a user would: networks learn for a few epochs at 96 x 96, and all layers of their files are in 8 bits; test images chose
neither ranges nor anything else. Files of --out are taken again, so that the command goes on where it was ended. Exit code: 1 where a
network misses a goal in both formats.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from applications.formats import build_format
from applications.formats.deployed import deploy
from applications.formats.facts import Facts
from applications.formats.format import Format, Opened, WriteSettings
from applications.formats.int8 import QuantizationData
from benchmarks.shared import machine_share
from dataloader.images.preprocess import Preprocess
from models import build_model
from utils.terminal_tables import print_table
from utils.timing import CpuContention, measure_times

ARCHS = ("resnet18", "mobilenetv3_large", "efficientnet_b0")
FORMATS = ("openvino", "onnx")
SIZE, LEARNED_SIZE = 224, 96
CLASSES = tuple("0123456789")
CALIBRATION, BATCH = 10, 8
# The goals: points lost, and times as fast for one image.
MOST_LOST, LEAST_GAIN = 0.5, 2.0
# Two photographs of another size, one upright.
PHOTOS = ((480, 640), (640, 480))


def main() -> int:
    """Print the tables; return 1 when a network misses a goal in both formats."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("times", "lost"), help="one of the two tables")
    parser.add_argument("--archs", nargs="+", default=ARCHS, help=f"networks (default: {' '.join(ARCHS)})")
    parser.add_argument("--data", default="digits", help="folder or built-in source to learn from (default: digits)")
    parser.add_argument("--epochs", default="3")
    parser.add_argument("--out", type=Path, help="where files and runs are kept (default: nowhere)")
    arguments = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        out = arguments.out or Path(folder)
        if arguments.only != "lost":
            missed += times(arguments.archs, out / "untrained")
        if arguments.only != "times":
            missed += lost(arguments.archs, arguments.data, arguments.epochs, out / "runs")
    return 1 if missed else 0


def times(archs: list[str], folder: Path) -> int:
    """Print how long files take; return how many networks are not fast enough in 8 bits in any way of asking about one image."""
    files = {
        (arch, name, any_size): _written(arch, name, any_size, folder) for arch in archs for name in FORMATS for any_size in (True, False)
    }
    contention, rows, best = CpuContention(), [], dict.fromkeys(archs, 0.0)
    for (arch, name, any_size), pair in files.items():
        for asked, images in questions(any_size).items():
            # Opened anew: what is compiled depends on the sizes that were met.
            calls = [_asking(build_format(name).open(path, threads=torch.get_num_threads()), images) for path in pair]
            full, small = (timing.median / len(images) for timing in measure_times(calls))
            rows.append([arch, name, asked, f"{1e3 * full:.2f}", f"{1e3 * small:.2f}", f"{full / small:.2f}"])
            if len(images[0]) == 1:
                best[arch] = max(best[arch], full / small)
    print_table(("network", "format", "asked about", "fp32 (ms)", "8 bits (ms)", "times as fast"), rows)
    print(f"{torch.get_num_threads()} threads; {machine_share(contention)}")
    return sum(gain < LEAST_GAIN for gain in best.values())


def questions(any_size: bool) -> dict[str, list[np.ndarray]]:
    """Return what a file is asked about: words, and the batches of a round."""
    rng = np.random.default_rng(0)

    def noise(count: int, height: int, width: int) -> np.ndarray:
        return rng.integers(0, 256, (count, 3, height, width), dtype=np.uint8)

    if not any_size:
        return {f"one, {SIZE}x{SIZE}, --no_dynamic_size": [noise(1, SIZE, SIZE)]}
    return {
        f"one, {SIZE}x{SIZE}": [noise(1, SIZE, SIZE)],
        "one, photographs of one size": [noise(1, *PHOTOS[0])],
        "one, photographs of two sizes": [noise(1, *size) for size in PHOTOS],
        f"{BATCH}, {SIZE}x{SIZE}": [noise(BATCH, SIZE, SIZE)],
    }


def _asking(opened: Opened, images: list[np.ndarray]) -> Callable[[], object]:
    return lambda: [opened.run(each) for each in images]


def _written(arch: str, name: str, any_size: bool, folder: Path) -> tuple[Path, Path]:
    """Return the files of an untrained network, in fp32 and in 8 bits, written where they are not there yet."""
    found, place = build_format(name), folder / f"{arch}{'' if any_size else '-fixed'}"
    full, small = place / f"model{found.suffix}", place / f"model-int8{found.suffix}"
    if not full.is_file():
        _write(found, arch, any_size, full)
    if not small.is_file():
        with tempfile.TemporaryDirectory(dir=place) as draft:
            # Whole or not at all, so that the same command goes on after it was ended.
            path = Path(draft) / small.name
            _write(found, arch, any_size, path)
            rng = np.random.default_rng(0)
            images = [rng.integers(0, 256, (1, 3, SIZE, SIZE), dtype=np.uint8) for _ in range(CALIBRATION)]
            found.quantize(path, QuantizationData(images, images, lambda outputs: outputs[0], lambda *_: 1.0, lambda *_: 0.0, 1.0))
            for file in reversed(found.files(path)):
                file.replace(place / file.name)
    return full, small


def _write(found: Format, arch: str, any_size: bool, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    net, numbers = build_model(arch, num_classes=len(CLASSES)).eval(), Preprocess((SIZE, SIZE))
    facts = Facts(arch, "classify", CLASSES, numbers, "softmax", any_size=any_size)
    found.write(deploy(net, numbers, "softmax", arch=arch, any_size=any_size), path, facts, WriteSettings())


def lost(archs: list[str], data: str, epochs: str, folder: Path) -> int:
    """Print what accuracy files of 8 bits lose; return how many networks lose too much in both formats."""
    rows, missed = [], 0
    for arch in archs:
        run = folder / "classify" / arch
        if not run.is_dir():
            size = ("--image_size", LEARNED_SIZE, LEARNED_SIZE)
            _main("--data", data, "--arch", arch, *size, "--epochs", epochs, "--logdir", folder / "draft", "--name", arch)
            run.parent.mkdir(parents=True, exist_ok=True)
            (folder / "draft" / "classify" / arch).rename(run)
        points = []
        for name in FORMATS:
            record = run / f"parity-{name}-int8.json"
            if not record.is_file():
                _main("--export", name, "--int8", "--max_drop", 1, "--resume", run, "--split", "test")
            parity = json.loads(record.read_text())["parity"]
            points.append(100 * (parity["model"] - parity["file"]))
            rows.append([arch, name, f"{parity['model']:.1%}", f"{parity['file']:.1%}", f"{points[-1]:.1f}"])
        missed += min(points) > MOST_LOST
    print_table(("network", "format", "fp32", "8 bits", "points lost"), rows)
    return missed


def _main(*flags: object) -> None:
    done = subprocess.run([sys.executable, "main.py", *map(str, flags)], check=False)
    if done.returncode:
        raise SystemExit(f"python main.py {' '.join(map(str, flags))} ended with {done.returncode}")


if __name__ == "__main__":
    sys.exit(main())
