"""Observers: the progress bar, plain lines, warnings, metrics.csv and TensorBoard."""

import csv
import io
import time
from collections.abc import Collection, Mapping, Sequence
from math import isnan, nan
from pathlib import Path
from typing import ClassVar

import torch
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch import nn

from applications.contract import Meter
from applications.progress import Observer, Progress
from utils.files import write_text
from utils.logs import console, log
from utils.networks.model_graph import model_graph
from utils.progress_bar import SILENCE
from utils.text import counted, say_rate

# Of self-paced training: the share of the images that count.
COUNTED = "counted"


def is_share(name: str, metrics: Collection[str]) -> bool:
    """Whether a name, with or without 'train_' or 'val_' before it, is that of a share from 0 to 1; of metrics, all but the loss are."""
    bare = name.removeprefix("train_").removeprefix("val_")
    return bare == COUNTED or (bare in metrics and bare != "loss")


def describe(means: Mapping[str, float], metrics: Collection[str]) -> str:
    """Return 'loss 0.123  top1 97.1%' for the metrics that people follow; `metrics` are the `metric_names` of the task."""
    parts = [f"{name} {value:.1%}" if is_share(name, metrics) else f"{name} {value:.4f}" for name, value in means.items()]
    return "  ".join(parts)


def describe_row(row: Mapping[str, float], epochs: int, metrics: Collection[str]) -> str:
    """Return the line for a finished epoch."""
    figures = {name: value for name, value in row.items() if name.startswith(("train_", "val_")) and name != "val_unreadable"}
    lost = f"  ({counted(int(row['val_unreadable']), 'val image')} unreadable)" if row.get("val_unreadable") else ""
    wait = f"  waiting for data {row['data_wait']:.0%}" if row["data_wait"] > 0.05 else ""
    speed = "" if isnan(row["images_per_second"]) else f"  {say_rate(row['images_per_second'])} images/s"
    return f"epoch {row['epoch']:.0f}/{epochs}  {describe(figures, metrics)}{lost}{speed}{wait}"


class _Speed:
    """Images per second since the epoch began or went on."""

    def __init__(self, world_size: int) -> None:
        self.world_size = world_size
        self._start, self._samples = time.perf_counter(), 0

    def begin(self, progress: Progress) -> None:
        self._start, self._samples = time.perf_counter(), progress.samples

    def of(self, progress: Progress) -> float:
        return (progress.samples - self._samples) * self.world_size / max(1e-9, time.perf_counter() - self._start)


class ProgressBar(Observer):
    """One bar per epoch on a terminal, and one line that stays for each finished epoch."""

    def __init__(self, epochs: int, world_size: int, metrics: Sequence[str]) -> None:
        self.epochs, self.metrics = epochs, metrics
        self.speed = _Speed(world_size)
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console(),
            transient=True,
        )
        self.line = self.bar.add_task("", figures="")

    def length(self, epochs: int) -> None:
        self.epochs = epochs

    def begin(self, progress: Progress, batches: int) -> None:
        self.speed.begin(progress)
        title = f"epoch {progress.epoch + 1}/{self.epochs}"
        self.bar.reset(self.line, total=batches, completed=progress.batch, description=title, figures="")
        self.bar.start()

    def step(self, progress: Progress) -> None:
        self.bar.update(self.line, completed=progress.batch)

    def report(self, progress: Progress, means: Mapping[str, float]) -> None:
        self.bar.update(self.line, figures=f"{describe(means, self.metrics)}  {say_rate(self.speed.of(progress))} images/s")

    def epoch(self, progress: Progress, row: Mapping[str, float]) -> None:
        del progress
        self.bar.stop()
        log().info(describe_row(row, self.epochs, self.metrics))

    def close(self) -> None:
        self.bar.stop()


class PlainLines(Observer):
    """Lines for a file or a pipe: one per print interval, one per epoch."""

    def __init__(self, epochs: int, world_size: int, print_freq: int, metrics: Sequence[str]) -> None:
        self.epochs, self.metrics = epochs, metrics
        self.print_freq = print_freq
        self.speed = _Speed(world_size)
        self.batches = 0
        self._said = 0.0

    def length(self, epochs: int) -> None:
        self.epochs = epochs

    def begin(self, progress: Progress, batches: int) -> None:
        self.speed.begin(progress)
        self.batches = batches
        self._said = time.perf_counter()

    def report(self, progress: Progress, means: Mapping[str, float]) -> None:
        # A line every few seconds at least, however large the print interval is.
        if progress.batch % self.print_freq and time.perf_counter() - self._said < SILENCE:
            return
        self._said = time.perf_counter()
        speed = self.speed.of(progress)
        log().info(
            f"epoch {progress.epoch + 1}/{self.epochs}  step {progress.batch}/{self.batches}  "
            f"{describe(means, self.metrics)}  {say_rate(speed)} images/s"
        )

    def epoch(self, progress: Progress, row: Mapping[str, float]) -> None:
        del progress
        log().info(describe_row(row, self.epochs, self.metrics))


class CsvLog(Observer):
    """metrics.csv, one row per epoch. Rows after the position of a resumed run are removed."""

    def __init__(self, path: Path, finished_epochs: int) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["epoch"]) <= finished_epochs]

    def epoch(self, progress: Progress, row: Mapping[str, float]) -> None:
        del progress
        self.rows.append({name: "" if isnan(value) else f"{value:.8g}" for name, value in row.items()})
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[-1]), restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())


class ChanceWarning(Observer):
    """Warns once when validation is at chance although training is not: the same answer for all images, or two epochs at chance.

    Args:
        metric: headline of the task; the same of training is compared with it, where training measures it.
        chance: its value for answers at random; None where that is not known.
        epochs: of the whole run, whose last one is looked at more strictly.
    """

    EPOCHS = 2
    # A constant answer is expected while training accuracy exceeds that of the constant answer by less than this.
    LEARNED = 0.1

    def __init__(self, metric: str, chance: float | None, epochs: int) -> None:
        self.metric, self.chance, self.epochs = metric, chance, epochs
        self._row = 0
        self._alike = ""
        self._said = False

    def length(self, epochs: int) -> None:
        self.epochs = epochs

    def validated(self, meter: Meter) -> None:
        self._alike = meter.one_answer()

    def epoch(self, progress: Progress, row: Mapping[str, float]) -> None:
        del progress
        if self._said:
            return
        number, train, val = int(row["epoch"]), row.get(f"train_{self.metric}"), row[f"val_{self.metric}"]
        if train is None:
            if self._alike and number == self.epochs:
                self._say(f"validation after epoch {number}, the last one: {self._alike}")
            return
        if self.chance is not None:
            learns = train > (1 + self.chance) / 3
            self._row = self._row + 1 if learns and val <= 1.2 * self.chance else 0
        if self._alike and (train > val + self.LEARNED or number == self.epochs):
            self._say(f"validation after epoch {number}: {self._alike}, while training is at {train:.0%}")
        elif self.chance is not None and self._row == self.EPOCHS:
            chance = f"chance is {self.chance:.0%} with {round(1 / self.chance)} classes"
            self._say(f"validation is at {val:.0%}, and {chance}, for {self.EPOCHS} epochs while training is at {train:.0%}")

    def _say(self, what: str) -> None:
        self._said = True
        log().warning(f"{what}. Lower --lr, or train for more epochs; if it lasts, compare the images of the two splits with --visual_data")


class TensorBoard(Observer):
    """TensorBoard: the graph of the model once; scalars and the histogram of batch-norm gammas, one point per epoch.

    Points after the position of a resumed run are purged.

    Args:
        folder: of the run.
        finished_epochs: of it.
        model: bare.
        metrics: `metric_names` of the task; one without a title in NAMES has its own name.
        resumed: whether the run goes on.
    """

    NAMES: ClassVar = {
        "train_loss": "Train/Loss",
        "train_top1": "Train/Accuracy",
        "val_loss": "Val/Loss",
        "val_top1": "Val/Accuracy",
        "val_top5": "Val/Top 5",
        "train_exact": "Train/Exact match",
        "val_exact": "Val/Exact match",
        "val_mAP": "Val/mAP",
        "val_micro_f1": "Val/Micro F1",
        "val_macro_f1": "Val/Macro F1",
        "train_distill": "Train/Distance to the teacher",
        "train_maps": "Train/Distance of the maps",
        "train_counted": "Train/Images that count",
        "lr": "Learning rate",
        "images_per_second": "Images per second",
        "batch_seconds": "Seconds per batch",
    }

    def __init__(self, folder: Path, finished_epochs: int, model: nn.Module, metrics: Sequence[str] = (), *, resumed: bool) -> None:
        from tensorboardX import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=finished_epochs + 1 if resumed else None)
        self.model = model
        own = {f"{split}_{name}": f"{split.title()}/{name}" for name in metrics for split in ("train", "val")}
        self.names = {**self.NAMES, **{key: title for key, title in own.items() if key not in self.NAMES}}
        graph = None if resumed else model_graph(model)
        if graph is not None and self.writer.file_writer is not None:
            self.writer.file_writer.add_onnx_graph(graph)

    def epoch(self, progress: Progress, row: Mapping[str, float]) -> None:
        del progress
        number = int(row["epoch"])
        for key, name in self.names.items():
            if not isnan(row.get(key, nan)):
                self.writer.add_scalar(name, row[key], number)
        gammas = batchnorm_gammas(self.model)
        if len(gammas):
            self.writer.add_histogram("BN gamma", gammas.numpy(), number)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


def batchnorm_gammas(model: nn.Module) -> torch.Tensor:
    """Return the scale of every batch-norm channel of the model, (channels,)."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.affine]
    return torch.cat([layer.weight.detach().float().flatten().cpu() for layer in layers]) if layers else torch.empty(0)
