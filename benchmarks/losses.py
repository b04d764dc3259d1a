"""Which loss helps where: every loss on a long-tailed and on a label-noisy version of a data set, several seeds each.

    python -m benchmarks.losses                        digits; about twelve minutes on two cores
    python -m benchmarks.losses --data DIR --image_size 32
    python -m benchmarks.losses --seeds 2 --steps 20 --out /tmp/try
    python -m benchmarks.losses --only ghm             these rows again; the others are those of losses-benchmark.csv

Writes losses-benchmark.md, .png and .csv, the figures of every run, into --out. The validation and test images stay as they
are; only the training images lose members (long tail) or get wrong labels (noise). Losses of one seed share
images, labels, first weights and order, so that they are compared in pairs.
"""

import csv
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import ttest_rel
from torch import Tensor, nn

from criterions.matrix import write_template
from criterions.weighted import build_criterion
from dataloader.augment.chain import build_augment
from dataloader.batch.targets import labels_of
from dataloader.images.preprocess import Preprocess
from dataloader.loading.loader import Loader
from dataloader.opening.open_catalog import open_catalog
from dataloader.splits.split import Split
from utils.files import write_csv, write_text
from utils.flags import add_flags, flag, make_parser
from utils.spec import parse_specs

BASE = "softmax"
SETTINGS = ("long tail", "label noise")


@dataclass(frozen=True)
class BenchmarkOptions:
    """What is compared, and how long."""

    data: str = flag("digits", "folder with train/ and test/ (or val/), or a built-in set", metavar="DIR|NAME")
    image_size: int = flag(16, "height and width")
    seeds: int = flag(5, "runs of every loss")
    steps: int = flag(400, "steps of every run")
    batch_size: int = flag(64, "images a step")
    lr: float = flag(2e-3, "peak learning rate")
    imbalance: float = flag(50.0, "long tail: images of the commonest class for one of the rarest")
    noise: float = flag(0.3, "label noise: share of training labels that are drawn anew among the other classes")
    only: str | None = flag(None, "run only losses with this in their names; the others are read from --out", metavar="TEXT")
    out: str = flag("docs", "folder for table and plot", metavar="DIR")


@dataclass(frozen=True)
class LossSetting:
    """One loss as it is given on the command line."""

    spec: str
    label_smoothing: float = 0.0
    logit_adjust: float | None = None
    aug_splits: int = 1
    jsd: float | None = None

    @property
    def name(self) -> str:
        """Return the flags in short."""
        smoothing = f" --label_smoothing {self.label_smoothing:g}" if self.label_smoothing else ""
        shift = f" --logit_adjust {self.logit_adjust:g}" if self.logit_adjust is not None else ""
        copies = f" --aug_splits {self.aug_splits}" if self.aug_splits > 1 else ""
        divergence = f" --jsd {self.jsd:g}" if self.jsd is not None else ""
        return self.spec + smoothing + shift + copies + divergence


ENTRIES = (
    LossSetting("softmax"),
    LossSetting("softmax", label_smoothing=0.1),
    LossSetting("focal"),
    LossSetting("poly1"),
    LossSetting("asymmetric_single", label_smoothing=0.1),
    LossSetting("softmax", logit_adjust=1.0),
    LossSetting("softmax|class_weights(auto)"),
    LossSetting("softmax|class_weights(effective)"),
    LossSetting("softmax|risk(costs.csv)"),
    LossSetting("softmax|threshold(thresholds.csv)"),
    LossSetting("softmax|ohm(0.7)"),
    LossSetting("softmax|ghm"),
    LossSetting("softmax", aug_splits=3),
    LossSetting("softmax", aug_splits=3, jsd=12.0),
    LossSetting("bce"),
    LossSetting("bce", label_smoothing=0.1),
    LossSetting("focal_bce"),
    LossSetting("poly1_bce"),
    LossSetting("asymmetric"),
    LossSetting("bce|class_weights(auto)"),
    LossSetting("bce|cost(costs.csv)"),
    LossSetting("bce|threshold(thresholds.csv)"),
    LossSetting("bce|ohm(0.7)"),
    LossSetting("bce|ghm"),
)


@dataclass(frozen=True)
class Images:
    """A split in memory: images float (N, 3, H, W) in 0..1, labels int64 (N,)."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Score:
    """What one run reached on the test images, as shares of one."""

    top1: float
    rarest: float


class SmallNet(nn.Module):
    """Three convolutions with batch norm; (N, 3, H, W) -> (N, num_classes)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        widths = (3, 16, 32, 64)
        blocks = []
        for before, after in pairwise(widths):
            blocks += [nn.Conv2d(before, after, 3, stride=2 if before > 3 else 1, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(4 * widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def read_split(split: Split, size: int) -> Images:
    """Read all images of a split, fitted into a square."""
    loader = Loader(split, Preprocess(image_size=(size, size)), augment=build_augment(""), batch_size=256, workers=0, seed=0, shuffle=False)
    batches = list(loader.batches(0))
    loader.close()
    return Images(torch.cat([batch.images for batch in batches]).float() / 255, torch.cat([labels_of(batch.targets) for batch in batches]))


def long_tail(labels: np.ndarray, classes: int, imbalance: float, rng: np.random.Generator) -> np.ndarray:
    """Return the indices that stay when class sizes fall geometrically, in a random order of classes; each keeps one at least."""
    order = rng.permutation(classes)
    largest = np.bincount(labels, minlength=classes).max()
    kept = []
    for rank, label in enumerate(order):
        members = rng.permutation(np.flatnonzero(labels == label))
        wanted = round(largest * imbalance ** (-rank / max(1, classes - 1)))
        kept.append(members[: max(1, wanted)])
    return np.sort(np.concatenate(kept))


def wrong_labels(labels: np.ndarray, classes: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return labels of which `share` were replaced by another class, each other one as likely."""
    changed = labels.copy()
    chosen = rng.permutation(len(labels))[: round(share * len(labels))]
    changed[chosen] = (labels[chosen] + rng.integers(1, max(2, classes), len(chosen))) % classes
    return changed


def spoil(train: Images, setting: str, classes: int, options: BenchmarkOptions, seed: int) -> Images:
    """Return the training images of a setting and seed."""
    rng = np.random.default_rng(seed)
    labels = train.labels.numpy()
    if setting == "long tail":
        kept = torch.from_numpy(long_tail(labels, classes, options.imbalance, rng))
        return Images(train.images[kept], train.labels[kept])
    return Images(train.images, torch.from_numpy(wrong_labels(labels, classes, options.noise, rng)))


def write_files(folder: Path, names: Sequence[str], counts: Sequence[int]) -> Mapping[str, str]:
    """Write thresholds as the template has them, and costs of 5 for taking a rare class (the rarer half) for another one."""
    write_template(str(folder / "thresholds.csv"), names, kind="threshold")
    rare = np.argsort(np.argsort(counts, kind="stable"), kind="stable") < len(names) // 2
    rows = [[5.0 if rare[true] and true != other else 1.0 for other in range(len(names))] for true in range(len(names))]
    lines = [["class", *names], *([name, *row] for name, row in zip(names, rows, strict=True))]
    write_text(folder / "costs.csv", "".join(",".join(f'"{cell}"' for cell in line) + "\n" for line in lines))
    return {name: repr(str(folder / name)) for name in ("thresholds.csv", "costs.csv")}


def train_and_test(entry: LossSetting, train: Images, test: Images, names: Sequence[str], options: BenchmarkOptions, seed: int) -> Score:
    """Train one network with one loss; return what it reaches on the test images."""
    classes = len(names)
    counts = torch.bincount(train.labels, minlength=classes)
    with tempfile.TemporaryDirectory() as place:
        spec = entry.spec
        for file, path in write_files(Path(place), names, counts.tolist()).items():
            spec = spec.replace(file, path)
        criterion = build_criterion(
            parse_specs(spec),
            classes=names,
            class_counts=counts.tolist(),
            label_smoothing=entry.label_smoothing,
            logit_adjust=entry.logit_adjust,
            jsd=entry.jsd,
        )
    torch.manual_seed(seed)
    model = SmallNet(classes)
    optimizer = torch.optim.AdamW(model.parameters(), options.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.lr, total_steps=options.steps)
    order = np.random.default_rng(seed)
    ones = torch.ones(options.batch_size * entry.aug_splits)
    for _ in range(options.steps):
        chosen = torch.from_numpy(order.integers(0, len(train.labels), options.batch_size))
        clean = train.images[chosen]
        images = torch.cat([clean, *(moved(clean) for _ in range(entry.aug_splits - 1))])
        targets = F.one_hot(train.labels[chosen], classes).float().repeat(entry.aug_splits, 1)
        loss = criterion(model(images), targets, ones, copies=entry.aug_splits)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.inference_mode():
        found = torch.cat([model(part).argmax(1) for part in test.images.split(512)])
    right = (found == test.labels).float()
    members = test.labels == rarest_class(counts, test.labels)
    return Score(float(right.mean()), float(right[members].mean()))


def moved(images: Tensor) -> Tensor:
    """Return copies of (N, C, H, W), each turned by up to 10 degrees and shifted by up to a tenth of its size."""
    angles = (torch.rand(len(images)) * 2 - 1) * torch.pi / 18
    shifts = (torch.rand(len(images), 2, 1) * 2 - 1) / 5
    turns = torch.stack([angles.cos(), -angles.sin(), angles.sin(), angles.cos()], dim=1).reshape(-1, 2, 2)
    grid = F.affine_grid(torch.cat([turns, shifts], dim=2), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def rarest_class(counts: Tensor, test_labels: Tensor) -> int:
    """Return the class with the fewest training images among those that the test images have."""
    tested = torch.bincount(test_labels, minlength=len(counts)) > 0
    return int(counts.masked_fill(~tested, counts.max() + 1).argmin())


def verdict(scores: Sequence[float], base: Sequence[float]) -> str:
    """Return 'better', 'worse' or 'no difference' than the base, by a paired t-test at 5%."""
    differences = np.subtract(scores, base)
    if len(differences) < 2:
        return "too few seeds"
    # The test has no answer where all differences are equal.
    if not differences.any() or (np.ptp(differences) > 0 and ttest_rel(scores, base).pvalue >= 0.05):
        return "no difference"
    return "better" if differences.mean() > 0 else "worse"


Results = Mapping[str, Mapping[str, Sequence[Score]]]


def to_markdown(results: Results, options: BenchmarkOptions, classes: int, images: Mapping[str, int]) -> str:
    """Return the page: setting -> name -> a score a seed, as tables."""
    lines = ["# Losses compared", ""]
    lines += [
        f"Data `{options.data}` ({classes} classes) at {options.image_size} x {options.image_size}, a network of three convolutions, "
        f"{options.steps} steps of {options.batch_size} images, {options.seeds} seeds; mean ± standard deviation over the seeds, "
        "in percent, on untouched test images. "
        f"The last columns compare with `{BASE}` seed by seed (paired t-test at 5%, without correction for the number of losses: "
        "of twenty losses without effect, one is expected to differ). Rarest: recall of the class with the fewest training images. "
        "Rows with `--aug_splits 3` see two more copies of every image, turned and shifted at random, which the others do not: "
        "compare these two with each other to see what the divergence brings.",
        "",
        "Made by `python -m benchmarks.losses`.",
    ]
    details = {
        "long tail": f"class sizes fall geometrically, {options.imbalance:g} : 1",
        "label noise": f"{options.noise:.0%} of the training labels are wrong",
    }
    for setting, entries in results.items():
        lines += ["", f"## {setting.capitalize()}: {details[setting]} (about {images[setting]} training images)", ""]
        lines += ["| loss | top-1 | rarest | top-1 against softmax | rarest against softmax |", "|---|---|---|---|---|"]
        for name, scores in entries.items():
            top1, rarest = [score.top1 for score in scores], [score.rarest for score in scores]
            bases = [score.top1 for score in entries[BASE]], [score.rarest for score in entries[BASE]]
            said = ("", "") if name == BASE else (verdict(top1, bases[0]), verdict(rarest, bases[1]))
            shown = name.replace("|", "\\|")
            lines.append(f"| `{shown}` | {spread(top1)} | {spread(rarest)} | {said[0]} | {said[1]} |")
    lines += ["", "![The same as a plot](losses-benchmark.png)", ""]
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    """Return mean ± standard deviation in percent."""
    return f"{100 * np.mean(values):.1f} ± {100 * deviation(values):.1f}"


def deviation(values: Sequence[float]) -> float:
    """Return the sample standard deviation, 0 for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def draw(results: Results, path: Path) -> None:
    """Draw mean and deviation of both figures, a panel a setting, softmax as a line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(next(iter(results.values())))
    figure = Figure(figsize=(13, 1.5 + 0.3 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(results), sharey=True, squeeze=False)[0]
    places = np.arange(len(names))
    for axes, (setting, entries) in zip(panels, results.items(), strict=True):
        for shift, (label, figure_of) in enumerate({"top-1": lambda s: s.top1, "recall of the rarest class": lambda s: s.rarest}.items()):
            values = [[100 * figure_of(score) for score in entries[name]] for name in names]
            means, deviations = [np.mean(row) for row in values], [deviation(row) for row in values]
            color = f"C{shift}"
            # A share cannot leave 0 to 100%, however far a deviation would reach.
            reach = [np.minimum(deviations, means), np.minimum(deviations, np.subtract(100, means))]
            axes.errorbar(means, places + 0.2 * shift - 0.1, xerr=reach, fmt="o", color=color, label=label, capsize=2, markersize=4)
            axes.axvline(means[names.index(BASE)], color=color, linewidth=0.8, linestyle="--")
        axes.set(title=setting, xlabel="percent on the test images; dashed: softmax")
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(places, names)
    panels[0].invert_yaxis()
    panels[0].legend(loc="lower left", fontsize="small")
    figure.savefig(path, dpi=110)


def known_scores(path: Path, options: BenchmarkOptions, images: int) -> dict[tuple[str, str], list[Score]]:
    """Return the scores of earlier runs with the same settings, by setting and name of the loss; none where there is no file.

    Raises:
        SystemExit: the file was made with other settings.
    """
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wanted = made_with(options, images)
    if any(row["settings"] != wanted for row in rows):
        raise SystemExit(f"{path} was made with other settings than '{wanted}'; leave --only out, or give another --out")
    found: dict[tuple[str, str], list[Score]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        found.setdefault((row["setting"], row["loss"]), []).append(Score(float(row["top1"]), float(row["rarest"])))
    return found


def made_with(options: BenchmarkOptions, images: int) -> str:
    """Return in one word what scores depend on beside loss, setting and seed, so that only like is put beside like."""
    parts = (options.data, images, options.image_size, options.seeds, options.steps, options.batch_size)
    return "/".join(map(str, (*parts, options.lr, options.imbalance, options.noise)))


def write_scores(path: Path, results: Results, settings: str) -> None:
    """Write every score as a row."""
    rows = [
        [settings, setting, name, str(seed), f"{score.top1:.6f}", f"{score.rarest:.6f}"]
        for setting, entries in results.items()
        for name, scores in entries.items()
        for seed, score in enumerate(scores)
    ]
    write_csv(path, [["settings", "setting", "loss", "seed", "top1", "rarest"], *rows])


def main(argv: list[str]) -> int:
    """Run every loss, print progress, write scores, table and plot."""
    purpose = "Compare all losses on a long-tailed and on a label-noisy version of a data set."
    parser = make_parser("python -m benchmarks.losses", "python -m benchmarks.losses [FLAGS]", purpose)
    add_flags(parser, "benchmark", BenchmarkOptions)
    options = BenchmarkOptions(**vars(parser.parse_args(argv)))
    catalog = open_catalog(options.data)
    train = read_split(catalog.splits["train"], options.image_size)
    test = read_split(catalog.splits.get("test") or catalog.splits["val"], options.image_size)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    known = {} if options.only is None else known_scores(out / "losses-benchmark.csv", options, len(train.labels))
    results, sizes = run_all(train, test, catalog.classes, options, known)
    page = to_markdown(results, options, len(catalog.classes), sizes)
    write_text(out / "losses-benchmark.md", page)
    write_scores(out / "losses-benchmark.csv", results, made_with(options, len(train.labels)))
    draw(results, out / "losses-benchmark.png")
    print(page)
    return 0


def run_all(
    train: Images, test: Images, classes: Sequence[str], options: BenchmarkOptions, known: Mapping[tuple[str, str], Sequence[Score]]
) -> tuple[Results, dict[str, int]]:
    """Return the scores of all losses, those that --only leaves out as they are known, and the training images of each setting."""
    entries = [entry for entry in ENTRIES if options.only is None or options.only in entry.name or entry.name == BASE]
    names = [entry.name for entry in ENTRIES if entry in entries or (SETTINGS[0], entry.name) in known]
    results: dict[str, dict[str, list[Score]]] = {
        setting: {name: list(known.get((setting, name), [])) for name in names} for setting in SETTINGS
    }
    wanted = [entry for entry in entries if (options.only or "") in entry.name or (SETTINGS[0], entry.name) not in known]
    sizes: dict[str, int] = {}
    start, done = time.perf_counter(), 0
    for setting in SETTINGS:
        for entry in wanted:
            results[setting][entry.name] = []
        for seed in range(options.seeds):
            spoilt = spoil(train, setting, len(classes), options, seed)
            sizes[setting] = len(spoilt.labels)
            for entry in wanted:
                score = train_and_test(entry, spoilt, test, classes, options, seed)
                results[setting][entry.name].append(score)
                done += 1
                left = (time.perf_counter() - start) / done * (len(SETTINGS) * options.seeds * len(wanted) - done)
                figures = f"top-1 {score.top1:.1%}  rarest {score.rarest:.1%}"
                print(f"{setting:11}  seed {seed}  {entry.name:45}  {figures}  {left / 60:.0f} min left", flush=True)
    return results, sizes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
