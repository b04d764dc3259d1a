"""What 8 bits bring and cost: the time of one image and the accuracy of ONNX and OpenVINO files, in 8 bits and in full precision.

Networks are trained for a few epochs, exported and measured by python main.py, as a user would. Accuracy is of test images, which
neither chose the ranges nor the layers that stay in floating point.

Run from the root: python -m benchmarks.int8 [--data DIR] [--runs RUN ...]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from utils.terminal_tables import print_table

ARCHS = ("resnet18", "mobilenetv3_large", "efficientnet_b0")
FORMATS = {"onnx": ".onnx", "openvino": ".xml"}
# The goals: points lost, and times as fast.
MOST_LOST, LEAST_GAIN = 0.5, 2.0


def main() -> int:
    """Print the table; return 1 when a network misses a goal in both formats."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="digits", help="folder or built-in source (default: digits)")
    parser.add_argument("--size", nargs=2, default=("224", "224"), help="height and width of the networks")
    parser.add_argument("--epochs", default="3")
    parser.add_argument("--runs", nargs="+", type=Path, default=[], help="trained runs to take in place of new ones")
    arguments = parser.parse_args()
    rows, missed = [], 0
    with tempfile.TemporaryDirectory() as folder:
        runs = arguments.runs or [_train(arch, arguments, Path(folder)) for arch in ARCHS]
        for run in runs:
            _main("--export", ",".join(FORMATS), "--resume", run)
            _main("--export", ",".join(FORMATS), "--int8", "--resume", run, "--split", "test", accepted=(0, 1))
            found = measure(run, Path(folder))
            rows += found
            missed += not any(float(lost) <= MOST_LOST and float(gain) >= LEAST_GAIN for *_, lost, gain, _ in found)
    print_table(("network", "format", "fp32 (ms)", "int8 (ms)", "points lost", "times as fast", "in floating point"), rows)
    return 1 if missed else 0


def _train(arch: str, arguments: argparse.Namespace, folder: Path) -> Path:
    flags = ("--data", arguments.data, "--arch", arch, "--image_size", *arguments.size, "--epochs", arguments.epochs)
    _main(*flags, "--logdir", folder, "--name", arch)
    return folder / "classify" / arch


def measure(run: Path, folder: Path) -> list[list[str]]:
    """Return a row of cells for every format whose file in 8 bits was kept."""
    rows = []
    for name, suffix in FORMATS.items():
        record = json.loads((run / f"parity-{name}-int8.json").read_text())
        if not record["kept"]:
            rows.append([run.name, name, "", "", "inf", "0", record["refusal"]])
            continue
        pair = (run / f"model{suffix}", run / f"model-int8{suffix}")
        place = f"{run.name}-{name}"
        _main("--benchmark", *pair, "--split", "test", "--logdir", folder, "--name", place)
        told = json.loads((folder / "benchmark" / place / "benchmark.json").read_text())["files"]
        full, small = (next(each for each in told if each["file"] == str(path)) for path in pair)
        times = [1e3 * each["one"]["median_seconds"] for each in (full, small)]
        lost = 100 * (full["accuracy"] - small["accuracy"])
        kept = ", ".join(record["floating"]) or "none"
        rows.append([run.name, name, f"{times[0]:.2f}", f"{times[1]:.2f}", f"{lost:.2f}", f"{times[0] / times[1]:.2f}", kept])
    return rows


def _main(*flags: object, accepted: Sequence[int] = (0,)) -> None:
    done = subprocess.run([sys.executable, "main.py", *map(str, flags)], check=False)
    if done.returncode not in accepted:
        raise SystemExit(f"python main.py {' '.join(map(str, flags))} ended with {done.returncode}")


if __name__ == "__main__":
    sys.exit(main())
