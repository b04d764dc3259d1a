"""What do Darkroom and its peers reach in the same time, on the same images?

    git clone https://github.com/huggingface/pytorch-image-models
    pip install --target ULTRALYTICS --no-deps ultralytics ultralytics-thop polars polars-runtime-32
    python -m benchmarks.race --data DIR --weights FILE.pth --timm_train pytorch-image-models/train.py --ultralytics ULTRALYTICS --out OUT

DIR has the folders train, val and test with a folder for every class, or is `digits`: scikit-learn's 1,797 images, enlarged from 8 to
32 pixels, since Ultralytics takes none of fewer than 10. FILE has the ImageNet weights of torchvision's mobilenet_v2.
Cells are a side, a start, a budget and a seed: darkroom-trained-3-0. Each is one command (`--only NAME`), and its result is a row of
--table (OUT/race.csv), so that the benchmark can be stopped and goes on with what is missing. After each, and with `--draw` at any
time, OUT/race.md and OUT/race.png are written from the rows that are there. `docs/race-trashnet.csv` and `docs/race-digits.csv` hold
those of the documentation.

- darkroom: `python main.py --minutes N`, with nothing else but the network; from weights with --init_from.
- probe: `python main.py --probe`, which takes as long as it takes; from weights only.
- timm: its train.py, tuned by hand: bf16 where the processor has it, channels-last, AdamW, a rate, image sizes and augmentation that
  suit short runs (see `timm_command`), and as many epochs as fit into 1.1 times the budget: an epoch and the start are timed once for
  every size, on a quiet machine; where one more would have fit, it begins anew with that. The same network, mobilenetv2_100, from the
  same weights under its own names.
- ultralytics: its classifier with its defaults and its own `time` setting, which does not count its start, in a process of its own; from
  scratch only, since its weights are of other networks. Its license is the AGPL: nothing of it is part of this program.

A cell during which other programs, or the host of a virtual machine, took more than --most_taken of the processor (Linux tells) is not
kept, whoever it would have helped, and has to be run again; the table has the share of each.

Every side trains on train, chooses its best epoch on val, and is measured on test by its own evaluation. Intervals are 95% for
the mean of the seeds, over the images of test (Wilson). The goal: at every budget ahead of every peer.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

from PIL import Image

from benchmarks.shared import ROOT, rows_in, write_rows
from dataloader.sources.digits import open_digits
from utils.cores import available_cores
from utils.metrics.statistics import wilson
from utils.runtime import cpu_bf16_instructions
from utils.text import counted
from utils.timing import CpuContention

SIDES, STARTS, BUDGETS = ("darkroom", "probe", "timm", "ultralytics"), ("scratch", "trained"), (1.0, 3.0, 5.0, 10.0)
ARCH, TIMM_ARCH, ULTRALYTICS_ARCH = "torchvision/mobilenet_v2", "mobilenetv2_100", "yolo11n-cls.yaml"
# Times its budget that a peer without a clock may plan to take: rather a little too long than an epoch less.
PLANNED = 1.1
DIGIT_SIZE = 32
DIGITS = f"digits-{DIGIT_SIZE}"


@dataclass(frozen=True)
class Cell:
    """A training to run: who, from what, for how many minutes, with which seed."""

    side: str
    start: str
    minutes: float
    seed: int

    @classmethod
    def named(cls, name: str) -> "Cell":
        """Return the cell of a name such as darkroom-trained-3-0.

        Raises:
            ArgumentTypeError: it is no such name.
        """
        found = re.fullmatch(rf"({'|'.join(SIDES)})-({'|'.join(STARTS)})-([\d.]+)-(\d+)", name)
        if found is None:
            raise argparse.ArgumentTypeError(f"{name} is no cell; one is darkroom-trained-3-0")
        return cls(found[1], found[2], float(found[3]), int(found[4]))

    @property
    def name(self) -> str:
        return f"{self.side}-{self.start}-{self.minutes:g}-{self.seed}"

    @property
    def is_possible(self) -> bool:
        """Whether the side can start so; a probe has no budget, and is run once a seed."""
        only = {"ultralytics": "scratch", "probe": "trained"}
        return only.get(self.side, self.start) == self.start


@dataclass(frozen=True)
class Result:
    """What a cell reached: the share of test images answered right, how many there are, and what the training took, in seconds.

    Precision is what the processor has instructions for, bf16 or fp32: minutes of the one are not those of the other. Taken is the share of
    the processor that went to others meanwhile; None where it was not measured.
    """

    precision: str
    side: str
    start: str
    minutes: float
    seed: int
    accuracy: float
    images: int
    seconds: float
    note: str = ""
    taken: float | None = None


def machine_precision() -> str:
    """Return bf16 where the processor has instructions for it, else fp32."""
    return "bf16" if cpu_bf16_instructions() else "fp32"


def enlarged_digits(home: Path) -> Path:
    """Write scikit-learn's digits in a size that every side takes; return their folder."""
    source, folder = open_digits(home), home / DIGITS
    for file in sorted(source.rglob("*.png")):
        larger = folder / file.relative_to(source)
        larger.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(file) as image:
            image.resize((DIGIT_SIZE, DIGIT_SIZE), Image.Resampling.BICUBIC).save(larger)
    return folder


def images_of(folder: Path) -> int:
    """Return the number of images in the class folders of a split."""
    return sum(1 for place in folder.iterdir() if place.is_dir() for _ in place.iterdir())


def timed(command: Sequence[str], log: Path, *, folder: Path = ROOT, environment: dict[str, str] | None = None) -> tuple[str, float]:
    """Run a command; return what it printed, which is also appended to a file, and the seconds it took.

    Raises:
        SystemExit: it failed.
    """
    begun = time.perf_counter()
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    seconds = time.perf_counter() - begun
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(command)}\n{done.stdout}\n")
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\nended with exit code {done.returncode}; see {log}:\n{done.stdout[-1500:]}")
    return done.stdout, seconds


def run_darkroom(cell: Cell, options: argparse.Namespace, place: Path, log: Path) -> tuple[float, float, str]:
    """Return accuracy, seconds and the plan of `python main.py --minutes N` or of --probe."""
    main = [sys.executable, str(ROOT / "main.py")]
    flags = ["--data", str(options.data), "--arch", ARCH, "--seed", str(cell.seed), "--logdir", str(place)]
    flags += ["--init_from", str(options.weights)] if cell.start == "trained" else []
    goal = ["--probe"] if cell.side == "probe" else ["--minutes", f"{cell.minutes:g}"]
    # What another cell has computed of the images is not to be had for nothing.
    out, seconds = timed([*main, *goal, *flags], log, environment={"XDG_CACHE_HOME": str(place / "cache")})
    run = re.search(r"--evaluation --resume (.+)$", out, re.MULTILINE)
    assert run is not None, "a training ends with the command that evaluates it"
    folder = Path(run[1].strip().strip("'"))
    timed([*main, "--evaluation", "--no_report", "--resume", str(folder), "--split", "test"], log)
    (metrics,) = (folder / "evaluation-test").glob("metrics.json")
    plan = re.search(r"^plan +(.+)$", out, re.MULTILINE)
    return json.loads(metrics.read_text())["top1"], seconds, plan[1].partition("gone: ")[2] if plan else ""


def timm_shape(cell: Cell, data: Path) -> tuple[int, int]:
    """Return height and width of the images that a person chooses for such a time: of the shape and at most the size of what is there."""
    sides = {"trained": 128 if cell.minutes < 3 else 224, "scratch": 128 if cell.minutes < 3 else 160}
    with Image.open(next((data / "train").glob("*/*"))) as image:
        width, height = image.size
    scale = min(1.0, sides[cell.start] / (width * height) ** 0.5)
    return max(32, 16 * round(scale * height / 16)), max(32, 16 * round(scale * width / 16))


def timm_command(cell: Cell, options: argparse.Namespace, epochs: int, place: Path) -> list[str]:
    """Return the call of train.py for so many epochs, with what a person chooses for such a network and time.

    The classifier begins at 0 (--head-init-scale). timm's own start of it is uniform in +-1 / sqrt(classes), from which the first loss of
    6 classes is 8.9 in place of 1.8, and most of a short run goes into mending it.
    """
    height, width = timm_shape(cell, options.data)
    classes = sum(1 for entry in (options.data / "train").iterdir() if entry.is_dir())
    command = [sys.executable, str(options.timm_train), "--data-dir", str(options.data), "--output", str(place)]
    flags = f"--val-split val --model {TIMM_ARCH} --num-classes {classes} --experiment {cell.name} --checkpoint-hist 1 --seed {cell.seed}"
    flags += " --amp --amp-dtype bfloat16" if machine_precision() == "bf16" else ""
    flags += f" --device cpu --channels-last --batch-size 32 --workers {available_cores()}"
    flags += f" --input-size 3 {height} {width} --crop-pct 1.0 {timm_augmentation(cell, options, width / height)}"
    flags += " --opt adamw --weight-decay 0.05 --smoothing 0.1 --head-init-scale 0"
    flags += f" --sched-on-updates --warmup-epochs {int(epochs >= 3)} --epochs {epochs}"
    if cell.start == "scratch":
        return [*command, *flags.split(), "--lr", "1e-3"]
    weights = timm_weights(options.weights, classes, place / "timm_weights.pth")
    return [*command, *flags.split(), "--lr", "5e-4", "--initial-checkpoint", str(weights)]


def timm_augmentation(cell: Cell, options: argparse.Namespace, shape: float) -> str:
    """Return the flags of what a person does to images of such a shape, width by height: nothing to digits, which flips would spoil."""
    if options.data.name == DIGITS:
        return "--no-aug"
    least = {"trained": 0.5, "scratch": 0.35}[cell.start]
    return f"--scale {least} 1.0 --ratio {0.75 * shape} {shape / 0.75} --color-jitter 0.2"


def timm_weights(file: Path, classes: int, written: Path) -> Path:
    """Write torchvision's weights of mobilenet_v2 under timm's names; the layers have the same order."""
    import timm
    import torch

    theirs = torch.load(file, weights_only=True, map_location="cpu")
    state = timm.create_model(TIMM_ARCH, num_classes=classes).state_dict()
    for (name, value), found in zip(state.items(), theirs.values(), strict=True):
        if "classifier" not in name:
            assert value.shape == found.shape, f"{name} is {tuple(value.shape)}, not {tuple(found.shape)}"
            state[name] = found
    written.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, written)
    return written


def timm_epochs(cell: Cell, options: argparse.Namespace, place: Path, log: Path) -> int:
    """Return how many epochs fit into the time, by the times of one and of two, which are measured once for a size and kept."""
    height, width = timm_shape(cell, options.data)
    file = options.out / f"timm-seconds-{height}-{width}.json"
    if not file.is_file():
        took = [timed(timm_command(cell, options, epochs, place / f"try-{epochs}"), log, folder=place)[1] for epochs in (1, 2)]
        file.write_text(json.dumps({"start": max(0.0, 2 * took[0] - took[1]), "epoch": took[1] - took[0]}))
    found = json.loads(file.read_text())
    return max(1, int((PLANNED * 60 * cell.minutes - found["start"]) / found["epoch"]))


def run_timm(cell: Cell, options: argparse.Namespace, place: Path, log: Path) -> tuple[float, float, str]:
    """Return accuracy, seconds and what was trained by timm's train.py."""
    epochs = timm_epochs(cell, options, place, log)
    while True:
        _, seconds = timed(timm_command(cell, options, epochs, place / f"{epochs}"), log, folder=place)
        # Where the machine was faster than when an epoch was timed, the training begins anew with one more.
        if seconds * (epochs + 1) / epochs > 60 * cell.minutes:
            break
        epochs += 1
    height, width = timm_shape(cell, options.data)
    best = place / f"{epochs}" / cell.name / "model_best.pth.tar"
    measuring = [sys.executable, "-m", "benchmarks.race", "--measure", str(best), str(options.data / "test"), str(height), str(width)]
    out, _ = timed(measuring, log)
    return float(out.split()[-1]), seconds, f"{counted(epochs, 'epoch')} at {height}x{width} pixels"


def measure_timm(checkpoint: Path, folder: Path, shape: tuple[int, int]) -> float:
    """Return the accuracy of a checkpoint of timm on a folder of class folders, by timm's own images and network."""
    import timm
    import torch
    from timm.data import create_dataset, create_loader, resolve_data_config  # pyright: ignore[reportPrivateImportUsage]

    data: Any = create_dataset("", root=str(folder))
    classes = sum(1 for entry in folder.iterdir() if entry.is_dir())
    model = timm.create_model(TIMM_ARCH, num_classes=classes, checkpoint_path=str(checkpoint)).eval()
    config = resolve_data_config({"input_size": (3, *shape), "crop_pct": 1.0}, model=model)
    kept = ("input_size", "interpolation", "mean", "std", "crop_pct")
    loader = create_loader(
        data, batch_size=32, use_prefetcher=False, num_workers=0, device=torch.device("cpu"), **{name: config[name] for name in kept}
    )
    right = count = 0
    with torch.inference_mode():
        for images, targets in loader:
            right += int((model(images).argmax(1) == targets).sum())
            count += len(targets)
    return right / count


def run_ultralytics(cell: Cell, options: argparse.Namespace, place: Path, log: Path) -> tuple[float, float, str]:
    """Return accuracy and seconds of Ultralytics' classifier with its defaults, for a time."""
    # It writes the files train.cache, val.cache and test.cache beside the folders.
    data = place / "data"
    data.mkdir()
    for split in ("train", "val", "test"):
        (data / split).symlink_to(options.data / split)
    training = (
        "from ultralytics import YOLO\n"
        f"YOLO({ULTRALYTICS_ARCH!r}).train(data={str(data)!r}, time={cell.minutes / 60!r}, seed={cell.seed}, device='cpu', "
        f"project={str(place)!r}, name={cell.name!r})\n"
    )
    measuring = (
        "from ultralytics import YOLO\n"
        f"found = YOLO({str(place / cell.name / 'weights' / 'best.pt')!r}).val(data={str(data)!r}, split='test', device='cpu', "
        f"project={str(place)!r}, name='test')\nprint('top1', float(found.top1))\n"
    )
    environment = {"PYTHONPATH": str(options.ultralytics), "YOLO_OFFLINE": "True"}
    _, seconds = timed([sys.executable, "-c", training], log, folder=place, environment=environment)
    out, _ = timed([sys.executable, "-c", measuring], log, folder=place, environment=environment)
    told = re.search(r"^top1 ([\d.]+)$", out, re.MULTILINE)
    assert told is not None, "the script prints the accuracy"
    return float(told[1]), seconds, ULTRALYTICS_ARCH.removesuffix(".yaml")


RUNNERS: dict[str, Callable[[Cell, argparse.Namespace, Path, Path], tuple[float, float, str]]] = {
    "darkroom": run_darkroom,
    "probe": run_darkroom,
    "timm": run_timm,
    "ultralytics": run_ultralytics,
}


def run_cell(cell: Cell, options: argparse.Namespace) -> Result:
    """Run a cell that has no result yet, and keep it.

    Raises:
        SystemExit: a command of it failed, or others took too much of the processor.
    """
    contention, begun = CpuContention(), time.time()
    with tempfile.TemporaryDirectory(prefix="darkroom-race-") as folder:
        log = options.out / "logs" / f"{cell.name}.txt"
        accuracy, seconds, note = RUNNERS[cell.side](cell, options, Path(folder), log)
    taken = contention.others()
    if taken > options.most_taken:
        for times in options.out.glob("timm-seconds-*.json"):
            if times.stat().st_mtime > begun:
                times.unlink()
        raise SystemExit(f"not kept: others took {taken:.0%} of the processor meanwhile, more than --most_taken {options.most_taken:g}")
    result = Result(
        machine_precision(),
        **asdict(cell),
        accuracy=round(accuracy, 6),
        images=images_of(options.data / "test"),
        seconds=round(seconds, 1),
        note=note,
        taken=round(taken, 3),
    )
    keep(options.table, result)
    return result


def keep(table: Path, result: Result) -> None:
    """Add a row to the table, in the order of the cells."""
    results = sorted(
        [*results_in(table), result], key=lambda each: (each.precision, each.start, SIDES.index(each.side), each.minutes, each.seed)
    )
    write_rows(table, [asdict(each) for each in results])


def results_in(table: Path) -> list[Result]:
    """Return the rows of the table."""
    return [
        Result(
            row["precision"],
            row["side"],
            row["start"],
            float(row["minutes"]),
            int(row["seed"]),
            float(row["accuracy"]),
            int(row["images"]),
            float(row["seconds"]),
            row["note"],
            float(row["taken"]) if row.get("taken") else None,
        )
        for row in rows_in(table)
    ]


def draw(results: Sequence[Result], out: Path) -> None:
    """Write race.md and race.png from the rows of a table."""
    if not results:
        return
    out.mkdir(parents=True, exist_ok=True)
    lines = [
        "| processor | start | side | minutes | seconds | test accuracy | 95% interval | seeds | what was trained |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str, str, float], list[Result]] = {}
    for each in results:
        groups.setdefault((each.precision, each.start, each.side, each.minutes), []).append(each)
    for (precision, start, side, minutes), cells in groups.items():
        reached, seconds = mean(each.accuracy for each in cells), mean(each.seconds for each in cells)
        bounds = wilson(reached * cells[0].images, cells[0].images)
        row = [
            precision,
            start,
            side,
            f"{minutes:g}" if side != "probe" else "as long as it takes",
            f"{seconds:.0f}",
            f"{reached:.1%}",
            f"{bounds.low:.1%} to {bounds.high:.1%}",
            str(len(cells)),
            cells[0].note,
        ]
        lines.append(f"| {' | '.join(row)} |")
    (out / "race.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _draw_curves(groups, out / "race.png")


def _draw_curves(groups: dict[tuple[str, str, str, float], list[Result]], path: Path) -> None:
    from matplotlib.figure import Figure

    precisions = sorted({key[0] for key in groups})
    starts = [start for start in STARTS if any(key[1] == start for key in groups)]
    figure = Figure(figsize=(5.2 * len(starts), 3.8 * len(precisions)), layout="constrained")
    axes = figure.subplots(len(precisions), len(starts), squeeze=False, sharex=True, sharey="col")
    for (row, precision), (column, start) in product(enumerate(precisions), enumerate(starts)):
        axis = axes[row][column]
        for number, side in enumerate(SIDES):
            cells = [
                (mean(each.seconds for each in group) / 60, group)
                for key, group in sorted(groups.items())
                if key[:3] == (precision, start, side)
            ]
            if not cells:
                continue
            reached = [mean(each.accuracy for each in group) for _, group in cells]
            bounds = [wilson(value * group[0].images, group[0].images) for value, (_, group) in zip(reached, cells, strict=True)]
            low = [100 * (value - bound.low) for value, bound in zip(reached, bounds, strict=True)]
            high = [100 * (bound.high - value) for value, bound in zip(reached, bounds, strict=True)]
            shown = [100 * value for value in reached]
            axis.errorbar([x for x, _ in cells], shown, yerr=[low, high], marker="o", capsize=3, label=side, color=f"C{number}")
        weights = "random" if start == "scratch" else "trained"
        axis.set(title=f"from {weights} weights, a CPU with{'out' if precision == 'fp32' else ''} bf16", ylabel="test accuracy, %")
        axis.grid(alpha=0.3)
        if axis.has_data():
            axis.legend()
    for axis in axes[-1]:
        axis.set(xlabel="minutes")
    figure.savefig(path, dpi=120)


def is_ahead(results: Sequence[Result]) -> bool:
    """Whether Darkroom is ahead of every peer wherever both were measured, or equal; False where they nowhere were."""
    best: dict[tuple[str, str, float], dict[str, list[float]]] = {}
    for each in results:
        best.setdefault((each.precision, each.start, each.minutes), {}).setdefault(each.side, []).append(each.accuracy)
    shared = [sides for sides in best.values() if "darkroom" in sides]
    peers = [(sides["darkroom"], own) for sides in shared for side, own in sides.items() if side not in ("darkroom", "probe")]
    return bool(peers) and all(mean(ours) >= mean(theirs) for ours, theirs in peers)


def main() -> int:
    """Run the cells that have no result yet; return 0 when the goal is reached by what is there, 1 otherwise."""
    parser = argparse.ArgumentParser(description="Accuracy in the same time: Darkroom and its peers.")
    parser.add_argument("--data", type=Path, help="folder with train, val and test, or digits")
    parser.add_argument(
        "--weights", type=Path, help="torchvision's mobilenet_v2 (.pth); without it, cells from trained weights are left out"
    )
    parser.add_argument("--timm_train", type=Path, help="train.py of timm's repository; without it, timm is left out")
    parser.add_argument("--ultralytics", type=Path, help="folder that ultralytics was installed into; without it, it is left out")
    parser.add_argument("--out", type=Path, default=Path("race"), help="folder of what is written (default: race)")
    parser.add_argument("--table", type=Path, help="file with a row for each cell that was run (default: OUT/race.csv)")
    parser.add_argument("--budgets", type=float, nargs="+", default=BUDGETS, help="minutes")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2), help="seeds of a cell")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES, help="who")
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=STARTS, help="from what")
    parser.add_argument("--most_taken", type=float, default=0.1, help="share of the processor that others may take while a cell runs")
    parser.add_argument("--only", type=Cell.named, help="run this cell alone, such as darkroom-trained-3-0")
    parser.add_argument("--draw", action="store_true", help="write table and picture of what is there, and run nothing")
    parser.add_argument("--measure", nargs=4, metavar=("CHECKPOINT", "FOLDER", "HEIGHT", "WIDTH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        checkpoint, folder, height, width = options.measure
        print(measure_timm(Path(checkpoint), Path(folder), (int(height), int(width))))
        return 0
    options.out = options.out.resolve()
    options.table = (options.table or options.out / "race.csv").resolve()
    if not options.draw:
        if options.data is None:
            parser.error("--data DIR is needed")
        if str(options.data) == "digits":
            options.data = enlarged_digits(options.out)
        for name in ("data", "weights", "timm_train", "ultralytics"):
            if getattr(options, name) is not None:
                setattr(options, name, getattr(options, name).resolve())
        run_missing(options)
    results = results_in(options.table)
    draw(results, options.out)
    reached = is_ahead(results)
    print(f"goal: at every budget ahead of every peer: {'reached' if reached else 'missed'} by what is in {options.table}")
    return 0 if reached else 1


def run_missing(options: argparse.Namespace) -> None:
    """Run the cells that were asked for and have no result, one line each."""
    absent = {"timm": options.timm_train is None, "ultralytics": options.ultralytics is None, "probe": options.weights is None}
    budgets = sorted(options.budgets)
    options.out.mkdir(parents=True, exist_ok=True)
    here = [each for each in results_in(options.table) if each.precision == machine_precision()]
    done = {Cell(each.side, each.start, each.minutes, each.seed).name for each in here}
    cells = [
        Cell(side, start, minutes, seed)
        for seed, minutes, start, side in product(options.seeds, budgets, options.starts, options.sides)
        if side != "probe" or minutes == budgets[0]
    ]
    for cell in [options.only] if options.only else cells:
        if not cell.is_possible or absent.get(cell.side, False) or (cell.start == "trained" and options.weights is None):
            continue
        if cell.name in done:
            continue
        try:
            found = run_cell(cell, options)
        except SystemExit as failure:
            # The others are worth having all the same.
            print(f"{cell.name:28} failed: {str(failure).strip().splitlines()[-1]}", flush=True)
            continue
        print(f"{cell.name:28} {found.accuracy:6.1%} in {found.seconds:.0f} s  {found.note}", flush=True)
        draw(results_in(options.table), options.out)


if __name__ == "__main__":
    sys.exit(main())
