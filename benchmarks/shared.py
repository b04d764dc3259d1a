"""What the benchmarks share: a folder of real JPEG files, a timed training run, and how much of the machine other programs took."""

import csv
import multiprocessing
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from utils.timing import CpuContention

ROOT = Path(__file__).resolve().parent.parent
VAL_IMAGES = 32


def write_pictures(folder: Path, count: int, size: tuple[int, int], *, classes: int = 10, seed: int = 0) -> Path:
    """Write JPEG files folder/{train,val}/<class>/<number>.jpg: `count` for training, 32 for validation.

    Smooth colors under fine grain, at quality 90, cost a decoder about what photographs of that size cost.

    Args:
        folder: new or empty.
        count: training images.
        size: width and height, in pixels.
        classes: class folders.
        seed: of the pixels.
    """
    rng = np.random.default_rng(seed)
    for split, images in (("train", count), ("val", VAL_IMAGES)):
        for index in range(images):
            place = folder / split / f"class{index % classes}" / f"{index:05d}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            colors = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
            grain = rng.normal(0, 8, (size[1], size[0], 1))
            pixels = np.clip(np.asarray(colors) + grain, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(place, quality=90)
    return folder


def darkroom_speed(data: Path, arch: str, runs: Path, *, epochs: int, flags: Sequence[str] = ()) -> float:
    """Train with `python main.py` and return images/s, the median of all epochs but the first.

    An epoch's figure counts everything between its first and its last step, waiting for data included.

    Args:
        data: folder with train/ and val/.
        arch: model.
        runs: where the run folder goes.
        epochs: at least 2; the first one warms up.
        flags: further flags of main.py.
    """
    command = [sys.executable, str(ROOT / "main.py"), "--data", str(data), "--arch", arch, "--epochs", str(epochs)]
    run_quietly([*command, "--logdir", str(runs), *flags])
    (table,) = runs.glob("*/*/metrics.csv")
    with table.open(newline="", encoding="utf-8") as file:
        speeds = [float(row["images_per_second"]) for row in csv.DictReader(file)]
    return statistics.median(speeds[1:])


def run_quietly(command: Sequence[str]) -> str:
    """Run a command and return all it printed.

    Raises:
        SystemExit: it failed; what it printed last is shown.
    """
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\nended with exit code {done.returncode}:\n{done.stdout[-2000:]}")
    return done.stdout


def processor_seconds() -> float:
    """Return the processor time of this process and the loader processes that it has now (Linux; without them elsewhere)."""
    total = sum(os.times()[:2])
    for process in multiprocessing.active_children():
        stat = Path(f"/proc/{process.pid}/stat")
        if stat.is_file():
            # Behind the name of the program, which may hold spaces: user and system time.
            user, system = stat.read_text().rpartition(")")[2].split()[11:13]
            total += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return total


def machine_share(contention: CpuContention) -> str:
    """Return how much of the machine other programs took, in a line."""
    share = contention.others()
    advice = "; measure again when the machine is quiet" if share > 0.05 else ""
    return f"other programs took {share:.0%} of the machine{advice}"


def rows_in(table: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file; none where there is no such file."""
    if not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(table: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a CSV file, whole or not at all, so that a long benchmark that adds a row a cell goes on after an interruption."""
    table.parent.mkdir(parents=True, exist_ok=True)
    part = table.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(table)
