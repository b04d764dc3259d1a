"""What a teacher brings a small student: test accuracy with and without one, several seeds each.

    python -m benchmarks.distill                       digits; less than ten minutes on two cores
    python -m benchmarks.distill --data DIR --image_size 64
    python -m benchmarks.distill --seeds 2 --epochs 1 --teacher_epochs 1 --out /tmp/try

Writes distill-benchmark.md into --out. Every run is one of `python main.py`; students of one seed share first weights and order,
so that they are compared in pairs.
"""

import contextlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.stats import ttest_rel
from torch import Tensor, nn

import main as program
from models.backbone import Backbone, FeatureInfo
from utils.files import write_text
from utils.flags import add_flags, flag, make_parser

BASE = "labels alone"


@dataclass(frozen=True)
class BenchmarkOptions:
    """Who teaches whom, and how long."""

    data: str = flag("digits", "folder with train/, val/ and test/, or a built-in set", metavar="DIR|NAME")
    image_size: int = flag(16, "height and width")
    teacher: str = flag("resnet18", "network of the teacher", metavar="NAME")
    teacher_epochs: int = flag(12, "passes of the teacher")
    epochs: int = flag(12, "passes of every student")
    lr: float = flag(1e-2, "peak learning rate of the students")
    seeds: int = flag(5, "students of every kind")
    out: str = flag("docs", "folder for the table", metavar="DIR")


class Student(Backbone):
    """Three convolutions of 4, 6 and 8 channels: 882 parameters, too few for everything that the teacher sees."""

    WIDTHS = (4, 6, 8)

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
            for before, after in pairwise((3, *self.WIDTHS))
        )
        self.head = nn.Linear(self.WIDTHS[-1], num_classes)

    @property
    def feature_info(self) -> list[FeatureInfo]:
        return [FeatureInfo(width, 2 ** (stage + 1)) for stage, width in enumerate(self.WIDTHS)]

    def forward_features(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        vector = maps[-1].mean((2, 3))
        return vector if pre_logits else self.head(vector)

    def get_classifier(self) -> nn.Linear:
        return self.head


def objectives(teacher: Path) -> Mapping[str, Sequence[str]]:
    """Return name -> flags of everything that is compared."""
    online = ("--teacher", str(teacher))
    return {
        BASE: (),
        "--label_smoothing 0.1": ("--label_smoothing", "0.1"),
        "--distill": ("--distill", "--sidecar_dir", str(teacher)),
        "--teacher RUN": online,
        "--teacher RUN --distill_loss hard": (*online, "--distill_loss", "hard"),
        "--teacher RUN --distill_loss 'dkd(beta=8)'": (*online, "--distill_loss", "dkd(beta=8)"),
        "--teacher RUN --distill_features": (*online, "--distill_features"),
    }


def call(*argv: object) -> None:
    """Run main.py in this process, in silence."""
    said = io.StringIO()
    from utils.logs import console

    console.cache_clear()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = program.main([str(part) for part in argv])
    if code != 0:
        raise SystemExit(f"python main.py {' '.join(map(str, argv))} ended with {code}\n{said.getvalue()}")


def top1(run: Path, *arch: str) -> float:
    """Return the test accuracy of a run, a share of one."""
    call("--evaluation", "--resume", run, *arch, "--split", "test", "-j", 0)
    return json.loads((run / "evaluation-test" / "metrics.json").read_text(encoding="utf-8"))["top1"]


def train(options: BenchmarkOptions, folder: Path, name: str, arch: str, epochs: int, *more: object) -> Path:
    """Train one network; return its run folder."""
    size = (options.image_size, options.image_size)
    flags = ("--data", options.data, "--image_size", *size, "-j", 0, "--precision", "fp32", "--logdir", folder)
    call(*flags, "--name", name, "--arch", arch, "--epochs", epochs, *more)
    return folder / "classify" / name


def to_markdown(results: Mapping[str, Sequence[float]], teacher: float, options: BenchmarkOptions) -> str:
    """Return the table: mean and deviation over the seeds, and the difference from labels alone."""
    lines = [
        "# A small student, with and without a teacher",
        "",
        f"Data `{options.data}` at {options.image_size} x {options.image_size}. The teacher is a {options.teacher} after "
        f"{options.teacher_epochs} epochs: {teacher:.1%} of the test images right. The student has three convolutions and 882 "
        f"parameters, and learns for {options.epochs} epochs; {options.seeds} seeds, top-1 on the test images in percent, mean ± standard "
        "deviation. The last column compares seed by seed (paired t-test at 5%, without correction for the number of rows).",
        "",
        "Made by `python -m benchmarks.distill`.",
        "",
        "| what the student learns from | top-1 | against labels alone |",
        "|---|---|---|",
    ]
    for name, values in results.items():
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        shown = f"`{name}`" if name.startswith("--") else name
        lines.append(
            f"| {shown} | {100 * np.mean(values):.1f} ± {100 * deviation:.1f} | {verdict(values, results[BASE]) if name != BASE else ''} |"
        )
    return "\n".join([*lines, ""])


def verdict(values: Sequence[float], base: Sequence[float]) -> str:
    """Return the difference in points, and whether it is more than chance."""
    difference = np.asarray(values) - np.asarray(base)
    said = f"{100 * difference.mean():+.1f}"
    if len(difference) < 2 or np.ptp(difference) == 0:
        return said
    return f"**{said}**" if ttest_rel(values, base).pvalue < 0.05 else f"{said}, no significant difference"


def main(argv: list[str]) -> int:
    """Train the teacher, then every student; print progress, write the table."""
    parser = make_parser("python -m benchmarks.distill", "python -m benchmarks.distill [FLAGS]", "What a teacher brings a small student.")
    add_flags(parser, "benchmark", BenchmarkOptions)
    options = BenchmarkOptions(**vars(parser.parse_args(argv)))
    arch = f"{Path(__file__).resolve()}:Student"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        start = time.perf_counter()
        teacher = train(options, folder, "teacher", options.teacher, options.teacher_epochs, "--aug", "crop(0.15)", "--ema")
        reached = top1(teacher)
        call("--knowledge", "train", "--resume", teacher, "--sidecar_dir", teacher, "-j", 0)
        print(f"teacher {options.teacher}: top-1 {reached:.1%}  {time.perf_counter() - start:.0f} s", flush=True)
        results: dict[str, list[float]] = {name: [] for name in objectives(teacher)}
        start, done = time.perf_counter(), 0
        for seed in range(options.seeds):
            for number, (name, flags) in enumerate(objectives(teacher).items()):
                run = train(options, folder, f"student-{number}-{seed}", arch, options.epochs, "--lr", options.lr, "--seed", seed, *flags)
                results[name].append(top1(run, "--arch", arch))
                done += 1
                left = (time.perf_counter() - start) / done * (options.seeds * len(results) - done)
                print(f"seed {seed}  {name:45}  top-1 {results[name][-1]:.1%}  {left / 60:.0f} min left", flush=True)
    page = to_markdown(results, reached, options)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "distill-benchmark.md", page)
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
