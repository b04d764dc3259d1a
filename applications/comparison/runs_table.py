"""--table: one table over runs, with accuracy, parameters, multiply-adds and time, as CSV, Markdown and a picture."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import torch

from applications.settings.options import Request, is_run_folder, run_folder_parent
from applications.tasks import TASKS
from models import build_model
from models.slimming.layer_widths import set_widths
from utils.checkpoint import BEST, LAST, load_checkpoint
from utils.drawing.plots import draw_points
from utils.errors import UserError
from utils.files import new_folder, write_csv, write_text
from utils.logs import log
from utils.networks.summary import summarize
from utils.registry import is_user_code
from utils.terminal_tables import print_table

HEADER = ("run", "model", "data", "image size", "epochs", "figure", "val", "test", "parameters (M)", "multiply-adds (M)", "minutes")


@dataclass(frozen=True)
class RunSummary:
    """A row of the table; None where a value is not known.

    Attributes:
        run: path below the folder of the table.
        arch, data: model and data set.
        image_size: height x width.
        epochs: trained.
        headline: name of the metric.
        val: the best value on validation images, which chose the weights.
        test: the value of the latest --evaluation of these weights on test images.
        parameters, multiply_adds: in millions; multiply-adds per image.
        minutes: of training, without validation.
    """

    run: str
    arch: str
    data: str
    image_size: str
    epochs: int
    headline: str
    val: float | None
    test: float | None
    parameters: float | None
    multiply_adds: float | None
    minutes: float | None

    def row(self) -> list[str]:
        """Return the cells, in the order of HEADER."""
        shares = ["" if value is None else f"{value:.2%}" for value in (self.val, self.test)]
        numbers = ["" if value is None else f"{value:.2f}" for value in (self.parameters, self.multiply_adds, self.minutes)]
        return [self.run, self.arch, self.data, self.image_size, str(self.epochs), self.headline, *shares, *numbers]


def run(request: Request) -> int:
    """Write the table of the runs below the folder; return the exit code."""
    place = Path(request.subject)
    if not place.is_dir():
        raise UserError(f"--table: there is no folder {place}; give one with runs below it, such as runs")
    folders = sorted(file.parent for file in place.rglob(BEST) if is_run_folder(file.parent))
    for file in sorted(place.rglob(LAST)):
        if is_run_folder(file.parent) and not (file.parent / BEST).is_file():
            go_on = f"python main.py --resume {quote(str(file.parent))}"
            log().warning(f"left out {file.parent}: it was stopped before its first epoch ended; go on with {go_on}")
    entries = []
    for folder in folders:
        try:
            entries.append(read_run_summary(folder, place))
        except UserError as error:
            log().warning(f"left out {folder}: {error}")
    if not entries:
        raise UserError(f"--table {place}: there is no run with a {BEST} below it")
    entries.sort(key=lambda entry: (entry.data, entry.headline, -(entry.test if entry.test is not None else entry.val or 0.0)))
    folder = new_folder(run_folder_parent(request.config.output, "table"), request.config.output.name or "table")
    print_table(HEADER, [entry.row() for entry in entries], left=("model", "data", "image size", "figure"))
    write_table(entries, folder)
    log().info(f"written   {folder} (table.csv, table.md, table.png)")
    log().info("metrics from different images are not comparable; to compare two runs on the same images: python main.py --compare RUN RUN")
    return 0


def read_run_summary(folder: Path, root: Path) -> RunSummary:
    """Return the row of a run, from its files.

    Raises:
        UserError: they cannot be read.
    """
    content = load_checkpoint(folder / BEST)
    config, rows = content["config"], _rows(folder / "metrics.csv")
    headline = TASKS.resolve(content["task"]).headline
    seconds = [float(row["seconds"]) for row in rows if row.get("seconds")]
    parameters, multiply_adds = _cost(content)
    height, width = content["preprocess"]["image_size"]
    return RunSummary(
        run=str(folder.relative_to(root)),
        arch=content["arch"].rpartition("/")[2] if is_user_code(content["arch"]) else content["arch"],
        data=Path(config["data"]).name,
        image_size=f"{height}x{width}",
        epochs=len(rows) or content["epoch"],
        headline=headline,
        # A pruned model has no metrics of its own: its checkpoint holds those of the model before pruning.
        val=content["progress"]["best"][0] if rows else None,
        test=_test_figure(folder, headline),
        parameters=parameters,
        multiply_adds=multiply_adds,
        minutes=sum(seconds) / 60 if len(seconds) == len(rows) and rows else None,
    )


def write_table(entries: Sequence[RunSummary], folder: Path) -> None:
    """Write table.csv, table.md and table.png."""
    rows = [list(HEADER), *(entry.row() for entry in entries)]
    write_csv(folder / "table.csv", rows)
    lines = [_markdown(rows[0]), _markdown(["---"] * len(HEADER)), *map(_markdown, rows[1:])]
    write_text(folder / "table.md", "\n".join(lines) + "\n")
    shown = "test" if any(entry.test is not None for entry in entries) else "val"
    points = [
        (entry.multiply_adds, 100 * value, name)
        for entry, name in zip(entries, telling_names([entry.run for entry in entries]), strict=True)
        if (value := entry.test if shown == "test" else entry.val) is not None and entry.multiply_adds
    ]
    draw_points(
        points,
        folder / "table.png",
        title=f"{len(points)} of {len(entries)} runs",
        xlabel="multiply-adds per image (millions)",
        ylabel=f"{entries[0].headline if len({entry.headline for entry in entries}) == 1 else 'figure'} on {shown} images (%)",
        log_x=bool(points),
        limits=(0.0, 100.0),
    )


def telling_names(runs: Sequence[str]) -> list[str]:
    """Return what tells runs apart: their names without the folders, the date and whatever else all of them begin with."""
    # The first and the last in order share what all share.
    first, last = min(runs), max(runs)
    alike = next((place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), min(len(first), len(last)))
    shared = first[:alike] if len(runs) > 1 else f"{os.path.dirname(first)}/"
    end = max(shared.rfind("/"), shared.rfind("-")) + 1 if len(runs) > 1 or "/" in first else 0
    return [run[end:] for run in runs]


def _markdown(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _cost(content: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return parameters and multiply-adds in millions; None for a network in a user's file, which is not imported without being asked."""
    if is_user_code(content["arch"]):
        return None, None
    model = build_model(content["arch"], num_classes=content["num_classes"])
    set_widths(model, content["channels"])
    height, width = content["preprocess"]["image_size"]
    summary = summarize(model, (height, width), torch.device("cpu"))
    return summary.parameters / 1e6, summary.multiply_adds / 1e6


def _test_figure(folder: Path, headline: str) -> float | None:
    """Return the headline metric of the latest evaluation of the best weights on test images; None without one."""
    best = (folder / BEST).resolve()
    found: list[tuple[int, float]] = []
    for file in folder.glob("evaluation-test*/metrics.json"):
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
            if facts["split"] == "test" and Path(facts["checkpoint"]).name == best.name:
                found.append((file.stat().st_mtime_ns, float(facts[headline])))
        except (OSError, ValueError, KeyError) as error:
            log().warning(f"left out {file}: it cannot be read ({type(error).__name__})")
    return max(found)[1] if found else None
