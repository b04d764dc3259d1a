"""What to do with 10, 30 or 100 images of each class?

    python -m benchmarks.small_data --data DIR --weights FILE.pth --out OUT

DIR has the folders train, val and test with a folder for every class; FILE has the ImageNet weights of torchvision's mobilenet_v2. For
every number of images and every seed, that many images of each class are drawn from train, a quarter as many from val, and all of
test are answered. On these images a network is trained from random weights, probed, and fine-tuned: trained for `--minutes` each, as they
are by default, and with one of `--aug strong`, `--mixup` and `--ema`. A row of the table is the mean over the seeds, with their spread.

Each cell is one command (`--only finetune-ema-30-2`), and its result is a row of --table (OUT/small_data.csv), so that the benchmark can
be stopped and goes on with what is missing. After each, and with `--draw` at any time, OUT/small_data.md is written from the rows
that are there.
"""

import argparse
import json
import os
import random
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import mean, stdev

from benchmarks.race import ARCH, ROOT, timed
from benchmarks.shared import rows_in, write_rows

COUNTS, SEEDS = (10, 30, 100), (0, 1, 2, 3, 4)
STARTS = ("scratch", "probe", "finetune")
EXTRAS = {"plain": (), "strong": ("--aug", "strong"), "mixup": ("--mixup",), "ema": ("--ema",)}


@dataclass(frozen=True)
class Cell:
    """A training to run: from what, with what in addition, on how many images of each class, drawn with which seed."""

    start: str
    extra: str
    count: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.start}-{self.extra}-{self.count}-{self.seed}"


@dataclass(frozen=True)
class Result:
    """What a cell reached on test, the minutes that its training was given (0 for a probe), and the seconds that it took."""

    start: str
    extra: str
    count: int
    seed: int
    minutes: float
    accuracy: float
    seconds: float


def write_part(data: Path, folder: Path, count: int, seed: int) -> None:
    """Link `count` images of each class of train and a quarter as many of val, and all of test, into a folder.

    A class with fewer images gives all that it has.
    """
    for split, wanted in (("train", count), ("val", max(3, count // 4)), ("test", None)):
        for place in sorted(entry for entry in (data / split).iterdir() if entry.is_dir()):
            files = sorted(place.iterdir())
            # A string seeds alike on every machine and in every run.
            random.Random(f"{seed}-{split}-{place.name}").shuffle(files)
            (folder / split / place.name).mkdir(parents=True)
            for file in files[:wanted]:
                os.symlink(file.resolve(), folder / split / place.name / file.name)


def run_cell(cell: Cell, options: argparse.Namespace) -> Result:
    """Train and evaluate a cell, and keep its result."""
    with tempfile.TemporaryDirectory(prefix="darkroom-small-") as name:
        folder, log = Path(name), options.out / "logs" / f"{cell.name}.txt"
        write_part(options.data, folder / "data", cell.count, cell.seed)
        main = [sys.executable, str(ROOT / "main.py")]
        flags = ["--data", str(folder / "data"), "--arch", ARCH, "--seed", str(cell.seed), "--logdir", str(folder / "runs")]
        flags += [] if cell.start == "scratch" else ["--init_from", str(options.weights)]
        flags += ["--probe"] if cell.start == "probe" else ["--minutes", f"{options.minutes:g}", *EXTRAS[cell.extra]]
        out, seconds = timed([*main, *flags], log, environment={"XDG_CACHE_HOME": str(folder / "cache")})
        found = re.search(r"--evaluation --resume (.+)$", out, re.MULTILINE)
        assert found is not None, "a training ends with the command that evaluates it"
        run = Path(found[1].strip().strip("'"))
        timed([*main, "--evaluation", "--no_report", "--resume", str(run), "--split", "test"], log)
        accuracy = json.loads((run / "evaluation-test" / "metrics.json").read_text())["top1"]
    minutes = 0.0 if cell.start == "probe" else options.minutes
    result = Result(**asdict(cell), minutes=minutes, accuracy=round(accuracy, 6), seconds=round(seconds, 1))
    write_rows(options.table, [asdict(each) for each in sorted([*results_in(options.table), result], key=order)])
    return result


def order(each: Result) -> tuple[int, int, int, int]:
    """Return where a row stands in the table."""
    return STARTS.index(each.start), list(EXTRAS).index(each.extra), each.count, each.seed


def results_in(table: Path) -> list[Result]:
    """Return the rows of the table."""
    return [
        Result(
            row["start"],
            row["extra"],
            int(row["count"]),
            int(row["seed"]),
            float(row["minutes"]),
            float(row["accuracy"]),
            float(row["seconds"]),
        )
        for row in rows_in(table)
    ]


def cells_of(counts: Sequence[int], seeds: Sequence[int], starts: Sequence[str], extras: Sequence[str]) -> list[Cell]:
    """Return the cells, all of a seed before the next one; a probe takes nothing in addition."""
    found = [Cell(start, extra, count, seed) for seed, count, start, extra in product(seeds, counts, starts, extras)]
    return [cell for cell in found if cell.start != "probe" or cell.extra == "plain"]


def draw(results: Sequence[Result], out: Path) -> None:
    """Write small_data.md from the rows of a table."""
    if not results:
        return
    counts = sorted({each.count for each in results})
    lines = [f"| start | in addition | {' | '.join(f'{count} images a class' for count in counts)} |", "|---|---|" + "---|" * len(counts)]
    for start, extra in product(STARTS, EXTRAS):
        cells = {count: [each for each in results if (each.start, each.extra, each.count) == (start, extra, count)] for count in counts}
        if any(cells.values()):
            lines.append(f"| {start} | {extra} | {' | '.join(_shown(cells[count]) for count in counts)} |")
    out.mkdir(parents=True, exist_ok=True)
    (out / "small_data.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _shown(cells: Sequence[Result]) -> str:
    """Return the mean of some cells with their spread, how many they are, and their mean time."""
    if not cells:
        return ""
    reached = [each.accuracy for each in cells]
    spread = f" ± {100 * stdev(reached):.1f}" if len(cells) > 1 else ""
    return f"{mean(reached):.1%}{spread} ({len(cells)}; {mean(each.seconds for each in cells):.0f} s)"


def main() -> int:
    """Run the cells that have no result yet; return 0, or 1 when one failed."""
    parser = argparse.ArgumentParser(description="Accuracy with few images of each class, by the way of training.")
    parser.add_argument("--data", type=Path, help="folder with train, val and test")
    parser.add_argument("--weights", type=Path, help="torchvision's mobilenet_v2 (.pth)")
    parser.add_argument("--out", type=Path, default=Path("small_data"), help="folder of what is written (default: small_data)")
    parser.add_argument("--table", type=Path, help="file with a row for each cell that was run (default: OUT/small_data.csv)")
    parser.add_argument("--minutes", type=float, default=1.0, help="of a training (default: 1)")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="images of each class")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="seeds")
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=STARTS, help="from what")
    parser.add_argument("--extras", nargs="+", choices=list(EXTRAS), default=list(EXTRAS), help="with what in addition")
    parser.add_argument("--only", help="run this cell alone, such as finetune-ema-30-2")
    parser.add_argument("--draw", action="store_true", help="write the table of what is there, and run nothing")
    options = parser.parse_args()
    options.out = options.out.resolve()
    options.table = (options.table or options.out / "small_data.csv").resolve()
    if options.draw:
        draw(results_in(options.table), options.out)
        return 0
    if options.data is None or options.weights is None:
        parser.error("--data DIR and --weights FILE are needed")
    options.data, options.weights = options.data.resolve(), options.weights.resolve()
    done = {Cell(each.start, each.extra, each.count, each.seed).name for each in results_in(options.table)}
    failed = 0
    for cell in cells_of(options.counts, options.seeds, options.starts, options.extras):
        if (options.only and cell.name != options.only) or cell.name in done:
            continue
        try:
            result = run_cell(cell, options)
        except SystemExit as failure:
            print(f"{cell.name:24} failed: {str(failure).strip().splitlines()[-1]}", flush=True)
            failed += 1
            continue
        print(f"{cell.name:24} {result.accuracy:6.1%} in {result.seconds:.0f} s", flush=True)
        draw(results_in(options.table), options.out)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
