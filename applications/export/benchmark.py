"""--benchmark: checkpoints and exported files side by side, as they run on this device."""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from applications import assemble
from applications.export.measure import BATCH, MeasuredFile, Subject, measure
from applications.export.probe import RuntimeFailedError
from applications.export.reference import MOST_IMAGES, is_readable, spread
from applications.export.source import COMPARED_ON
from applications.settings.options import Request, run_folder_parent
from applications.tasks import TASKS
from applications.trained.checkpoint import load_trained, open_held_out
from applications.trained.exported import is_exported, load_exported
from dataloader.opening.open_catalog import open_catalog
from dataloader.splits.split import Split
from utils.checkpoint import BEST, find_checkpoint
from utils.drawing.plots import draw_points
from utils.errors import UserError
from utils.files import new_folder, write_csv, write_text
from utils.logs import log
from utils.terminal_tables import print_table
from utils.text import counted

# What may be lost against the most accurate one, where the user does not say.
USUAL_LOSS = 0.005
# Points of the figure that the picture shows at least.
LEAST_HEIGHT = 2.0
UNSTEADY = "some times are not steady: other programs had the machine, or runs differed; measure again when it is quiet"
COLUMNS = ("file", "kind", "load (s)", "median (ms)", "p95 (ms)", "images/s", "memory (MB)", "size (MB)")


@dataclass(frozen=True)
class Entry:
    """A row of the table.

    Attributes:
        name: as the user gave it.
        kind: 'checkpoint' or a format, with its precision.
        accuracy: the headline figure of the task, as a share: mIoU of masks, AP of boxes, AUROC of scores.
        measured: all else.
    """

    name: str
    kind: str
    accuracy: float
    measured: MeasuredFile

    @property
    def milliseconds(self) -> float:
        """Median for one image."""
        return 1e3 * self.measured.one.median

    @property
    def is_steady(self) -> bool:
        """Whether its times can be relied on."""
        return self.measured.one.is_steady and self.measured.many.is_steady

    def row(self) -> list[str]:
        """Return the cells, in the order of `header`."""
        found = self.measured
        memory = "" if found.memory is None else f"{found.memory / 1e6:.0f}"
        steady = "yes" if self.is_steady else "no"
        times = [f"{found.load_seconds:.2f}", f"{self.milliseconds:.2f}", f"{1e3 * found.one.p95:.2f}", f"{found.throughput:.0f}"]
        return [self.name, self.kind, *times, memory, f"{found.size / 1e6:.1f}", f"{self.accuracy:.2%}", steady]


def header(headline: str) -> tuple[str, ...]:
    """Return the names of the columns, where answers are measured by the figure of this name."""
    return (*COLUMNS, headline, "steady")


@dataclass(frozen=True)
class Images:
    """What all files are asked about: the images, the task that says what is known of them, and their classes."""

    split: Split
    task: str
    classes: tuple[str, ...]


def run(request: Request) -> int:
    """Measure the files; return 1 when one of them could not be measured."""
    places = [_find(place) for place in request.subjects]
    images, threads = read_images(request, places), torch.get_num_threads()
    log().info(f"images    {len(images.split)} {images.split.name} images of {images.split.display_path}")
    log().info(f"device    {device_name()}, {counted(threads, 'thread')}")
    entries, failed = [], 0
    for given, (path, exported) in zip(request.subjects, places, strict=True):
        try:
            subject = Subject(path.resolve(), exported, request.given, images.split, images.task, images.classes, threads)
            entries.append(entry_of(given, measure(subject)))
        except (RuntimeFailedError, UserError) as error:
            log().error(f"{given} could not be measured: {error}")
            failed += 1
    if not entries:
        raise UserError("--benchmark: none of the files could be measured")
    entries.sort(key=lambda entry: entry.milliseconds)
    folder = new_folder(run_folder_parent(request.config.output, "benchmark"), request.config.output.name or "benchmark")
    print_table(header(entries[0].measured.figures.name), [entry.row() for entry in entries], left=("kind",))
    winner, reason = choose(entries, request.config.export.min_accuracy)
    write(entries, folder, images, threads, reason)
    log().info(reason)
    if not all(entry.is_steady for entry in entries):
        log().warning(UNSTEADY)
    log().info(f"written: {folder} (benchmark.csv, benchmark.md, benchmark.json, benchmark.png)")
    return 1 if failed or winner is None else 0


def _find(place: str) -> tuple[Path, bool]:
    """Return the file that is meant, and whether it is an exported one."""
    if is_exported(place):
        return Path(place), True
    if not Path(place).exists():
        raise UserError(f"--benchmark: there is no run, checkpoint or exported file {place}")
    return find_checkpoint(place, BEST), False


def read_images(request: Request, places: Sequence[tuple[Path, bool]]) -> Images:
    """Return the images: those of the first checkpoint, or of that beside the first exported file; --data names others.

    Raises:
        UserError: there is no checkpoint to say which, and no --data.
    """
    device = torch.device("cpu")
    beside = places[0][0].parent / BEST
    checkpoint = next((path for path, exported in places if not exported), beside if beside.is_file() else None)
    if checkpoint is not None:
        trained = load_trained(checkpoint, request.given, request.action, device)
        return images_of(open_held_out(trained, COMPARED_ON), trained.task, trained.classes)
    if "data" not in request.given:
        raise UserError(f"--benchmark: no checkpoint lies beside {places[0][0]} to say which images are meant; name them with --data")
    facts = load_exported(places[0][0], device).facts
    kind = TASKS.resolve(facts.task)
    assemble.refuse_unable(kind, {"benchmark": True})
    wanted = request.config.output.split or COMPARED_ON[0]
    catalog = open_catalog(str(request.given["data"]), classes=facts.classes, require_train=False, whole=wanted, target=kind.target)
    if wanted not in catalog.splits:
        raise UserError(f"{catalog.root} has no {wanted} images; it has {', '.join(catalog.splits)}: choose with --split")
    return images_of(catalog.splits[wanted].seen_by(facts.preprocess), facts.task, facts.classes)


def images_of(split: Split, task: str, classes: tuple[str, ...]) -> Images:
    """Return at most MOST_IMAGES images of a split, spread evenly over it."""
    if not len(split):
        raise UserError(f"{split.display_path}: the {split.name} split is empty; there is nothing to measure on")
    chosen = spread(len(split), MOST_IMAGES)
    readable = [index for index in chosen if is_readable(split, index)]
    if not readable:
        raise UserError(f"{split.display_path}: no {split.name} image can be read; there is nothing to measure on")
    if left := len(chosen) - len(readable):
        log().warning(f"{counted(left, f'{split.name} image')} left out, since they cannot be read")
    return Images(split.subset(readable), task, classes)


def entry_of(name: str, measured: MeasuredFile) -> Entry:
    """Return the row of what was measured."""
    facts = measured.facts
    kind = facts.exported_as + ("" if facts.precision == "fp32" else f" {facts.precision}")
    return Entry(name, kind, measured.figures.value, measured)


def choose(entries: Sequence[Entry], least: float | None) -> tuple[Entry | None, str]:
    """Return the fastest one that is accurate enough, and why it is that one.

    Args:
        entries: one at least.
        least: accuracy, as a share; None allows USUAL_LOSS against the most accurate one.
    """
    best, headline = max(entry.accuracy for entry in entries), entries[0].measured.figures.name
    bound = best - USUAL_LOSS if least is None else least
    said = f"{100 * bound:.2f}% ({100 * USUAL_LOSS:g} points below the most accurate)" if least is None else f"{100 * bound:.2f}%"
    able = [entry for entry in entries if entry.accuracy >= bound - 1e-9]
    if not able:
        return None, f"none reaches {headline} {said}; the most accurate has {100 * best:.2f}%"
    found = min(able, key=lambda entry: entry.milliseconds)
    reached = f"{found.milliseconds:.2f} ms, {headline} {100 * found.accuracy:.2f}%"
    return found, f"the fastest with {headline} of at least {said} is {found.name}: {reached}"


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points (time, accuracy) that no other beats in both, by rising time."""
    found: list[tuple[float, float]] = []
    for time, accuracy in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not found or accuracy > found[-1][1]:
            found.append((time, accuracy))
    return found


def device_name() -> str:
    """Return the name of the processor."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor() or "CPU")


def write(entries: Sequence[Entry], folder: Path, images: Images, threads: int, reason: str) -> None:
    """Write benchmark.csv, benchmark.md, benchmark.json and benchmark.png."""
    headline = entries[0].measured.figures.name
    rows = [list(header(headline)), *(entry.row() for entry in entries)]
    write_csv(folder / "benchmark.csv", rows)
    table = ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in rows]
    about = (
        f"On {device_name()}, {counted(threads, 'thread')}, each file in a process of its own; {headline} is of "
        f"{len(images.split)} {images.split.name} images of {images.split.display_path}. Median and p95 are of one image at a time, "
        f"from its pixels to the answer; images/s of {BATCH} at a time; memory is what opening and answering added to the process."
    )
    table.insert(1, "|" + "---|" * len(rows[0]))
    if not all(entry.is_steady for entry in entries):
        reason += f"; {UNSTEADY}"
    write_text(folder / "benchmark.md", "\n".join(["# Benchmark", "", about, "", *table, "", f"{reason[0].upper()}{reason[1:]}.", ""]))
    plain = [
        {
            "file": entry.name,
            "kind": entry.kind,
            "accuracy": entry.accuracy,
            "classes": {name: value for name, _, value in entry.measured.figures.classes},
            "load_seconds": entry.measured.load_seconds,
            "one": entry.measured.one.to_dict(),
            "images_per_second": entry.measured.throughput,
            "memory_bytes": entry.measured.memory,
            "bytes": entry.measured.size,
        }
        for entry in entries
    ]
    facts = {"device": device_name(), "threads": threads, "images": len(images.split), "headline": headline}
    facts |= {"reason": reason, "files": plain}
    write_text(folder / "benchmark.json", json.dumps(facts, indent=2) + "\n")
    line = frontier([(entry.milliseconds, 100 * entry.accuracy) for entry in entries])
    joined = "\nthe line joins those that none beats in both" if len(line) > 1 else ""
    doubt = "" if all(entry.is_steady for entry in entries) else "\ntimes are not steady: measure again when the machine is quiet"
    points = [(entry.milliseconds, 100 * entry.accuracy, f"{Path(entry.name).name} ({entry.kind})") for entry in entries]
    draw_points(
        points,
        folder / "benchmark.png",
        title=f"{device_name()}, {counted(threads, 'thread')}, {len(images.split)} {images.split.name} images{joined}{doubt}",
        xlabel="median of one image (ms)",
        ylabel=f"{headline} (%)",
        log_x=True,
        least_height=LEAST_HEIGHT,
        line=line if len(line) > 1 else (),
        limits=(0.0, 100.0),
    )
