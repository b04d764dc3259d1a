"""Parts of a report that every task shares: curves of the run, reliability, hard images, speed and size, how it was made."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from applications.calibration.threshold_outcome import describe_broken, support_rows
from applications.report.measured import Measured
from applications.report.measured_labels import MeasuredLabels
from applications.report.report_part import ReportPart, Thumbnails, as_percent
from applications.report.temperature_scaling import Scaled
from applications.trained.exported import Exported
from utils.drawing.chart_panels import Panel, draw_panels
from utils.drawing.images import file_uri
from utils.files import write_csv
from utils.metrics.calibration import Reliability
from utils.metrics.statistics import Interval
from utils.page import Card, Tone, gallery, heading, paragraph, picture, table
from utils.runtime import describe_machine
from utils.text import say_rate
from utils.timing import measure_times

HARDEST = 12
# Resamples of the intervals of the headline metrics, see utils/metrics/statistics.py.
SHARES = ("mAP", "top1", "top5", "macro F1", "micro F1", "all labels right")
LOSS_NOTE = "The loss is measured before calibration, as in training; a comparison of models shows the calibrated loss."


def run_curves(material: Measured) -> ReportPart:
    """Return the curves of the run that the model comes from, if its metrics.csv is next to the checkpoint."""
    file = material.trained.path.parent / "metrics.csv"
    rows = _read_rows(file) if file.is_file() else []
    if not rows or not material.trained.epoch:
        return ReportPart()
    headline = material.task.headline
    panels = [
        Panel(name, "epoch", name, _curves(rows, columns), percent=name == headline, whole=True)
        for name, columns in {
            "loss": {"training": "train_loss", "validation": "val_loss"},
            headline: {"training": f"train_{headline}", "validation": f"val_{headline}"},
            "learning rate": {"": "lr"},
        }.items()
    ]
    place = material.attachments / "run.png"
    draw_panels([panel for panel in panels if panel.curves], place)
    note = f"These weights are those after epoch {material.trained.epoch} of {len(rows)}."
    return ReportPart(sections=[("The run", [paragraph(note), picture(file_uri(place), alt="curves of the run")])])


def _read_rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _curves(rows: Sequence[dict[str, str]], columns: dict[str, str]) -> dict[str, tuple[list[float], list[float]]]:
    curves = {}
    for label, column in columns.items():
        points = [(float(row["epoch"]), float(row[column])) for row in rows if row.get(column)]
        if points:
            curves[label] = ([x for x, _ in points], [y for _, y in points])
    return curves


def intervals_table(intervals: dict[str, Interval]) -> str:
    """Return the figures with their 95% intervals."""
    rows = []
    for name, each in intervals.items():
        style = ".4f" if name == "loss" else ".2%"
        rows.append(
            ["uncalibrated loss" if name == "loss" else name, f"{each.value:{style}}", f"{each.low:{style}}", f"{each.high:{style}}"]
        )
    return table(["figure", "value", "from", "to"], rows)


def broken_promise(material: MeasuredLabels) -> list[str]:
    """Return a paragraph on the classes for which the promise is not kept on these images, where there are any."""
    if not material.broken:
        return []
    groups = len(material.choice.groups) if material.choice is not None else 0
    return [paragraph(f"{describe_broken(str(material.promise), material.broken, groups)}.", tone="bad")]


def support(material: MeasuredLabels) -> list[str]:
    """Return a table of the validation images behind a promise; nothing without one."""
    if material.promise is None or material.choice is None:
        return []
    header, *rows = support_rows(material.promise, material.choice, material.classes)
    return [table(header, rows)]


def calibration(material: MeasuredLabels, scaled: Scaled, before: Reliability, after: Reliability, *, what: str) -> ReportPart:
    """Return the reliability diagrams before and after temperature scaling.

    Args:
        material: the measured model.
        scaled: its losses before and after.
        before, after: the bins.
        what: the answers that were counted, in words.
    """
    rows = [
        ["bin from", "to", "answers before", "confidence before", "accuracy before", "answers after", "confidence after", "accuracy after"]
    ]
    width = 1 / len(before.counts)
    for number in range(len(before.counts)):
        cells = [f"{number * width:.4f}", f"{(number + 1) * width:.4f}"]
        for each in (before, after):
            cells += [str(each.counts[number]), f"{each.confidence[number]:.4f}", f"{each.accuracy[number]:.4f}"]
        rows.append(cells)
    write_csv(material.attachments / "calibration.csv", rows)
    place = material.attachments / "calibration.png"
    draw_panels([_reliability("before scaling", before), _reliability("after scaling", after)], place)
    figures = {
        "temperature": material.trained.calibration.temperature,
        "fitted_on_these_images": material.is_fitted_here,
        "ece_before": before.error,
        "ece_after": after.error,
        "loss_before": float(scaled.loss_before.mean()),
        "loss_after": float(scaled.loss_after.mean()),
    }
    lines = [
        ["expected calibration error", as_percent(before.error, 2), as_percent(after.error, 2)],
        ["loss", f"{figures['loss_before']:.4f}", f"{figures['loss_after']:.4f}"],
    ]
    blocks = [
        paragraph(
            f"Of {what} given with 80%, 80% should be right. The bars show how many were, in {len(before.counts)} steps; "
            "pale ones are of fewer than 20."
        ),
        table(["", "before", "after"], lines),
        picture(file_uri(place), alt="reliability diagrams"),
        paragraph(scaled.note, tone="soft"),
    ]
    return ReportPart(
        {"calibration error": as_percent(after.error)}, [("Can the probabilities be trusted?", blocks)], {"calibration": figures}
    )


def _reliability(title: str, bins: Reliability) -> Panel:
    width = 1 / len(bins.counts)
    left = [number * width for number in range(len(bins.counts))]
    # A bar of a few answers means little.
    strengths = (0.1 + 0.8 * np.minimum(1.0, bins.counts / 20)).tolist()
    return Panel(
        f"{title}: error {as_percent(bins.error, 2)}",
        "probability",
        "share that is right",
        bars=(left, bins.accuracy.tolist(), strengths, width),
        shares=True,
    )


def hard_images(
    material: MeasuredLabels,
    pictures: Thumbnails,
    groups: Sequence[tuple[str, str, np.ndarray]],
    lines: Sequence[list[str]],
    tones: Sequence[Tone],
) -> ReportPart:
    """Return galleries of images that deserve a look.

    Args:
        material: the measured model.
        pictures: gives the thumbnails.
        groups: title, explanation and rows (K,) of each gallery.
        lines: text of every image of the split.
        tones: its color.
    """
    blocks = []
    rows: list[list[object]] = [["group", "rank", "image"]]
    for title, explanation, members in groups:
        rows += [[title, rank + 1, material.file(row)] for rank, row in enumerate(members.tolist())]
        if len(members):
            blocks += [heading(title), paragraph(explanation, tone="soft"), _gallery(material, pictures, members, lines, tones)]
    write_csv(material.attachments / "hard_images.csv", rows)
    return ReportPart(sections=[("Images to look at", blocks or [paragraph("There is nothing to see.")])])


def _gallery(material: MeasuredLabels, pictures: Thumbnails, rows: np.ndarray, lines: Sequence[list[str]], tones: Sequence[Tone]) -> str:
    indices = [int(material.prediction.indices[row]) for row in rows]
    beside: Sequence[np.ndarray | None] = [None] * len(indices)
    if material.overlay is not None:
        answers = material.prediction.probabilities[rows].argmax(1).tolist()
        beside = material.overlay([material.split.read(index) for index in indices], answers)
    found = [
        pictures.card(index, [*lines[row], material.file(row)], tones[row], beside=heat)
        for index, row, heat in zip(indices, rows.tolist(), beside, strict=True)
    ]
    cards: list[Card] = [card for card in found if card is not None]
    return gallery(cards, wide=material.overlay is not None)


def cost(material: Measured) -> ReportPart:
    """Return how large and how fast the model is."""
    if material.trained.exported is not None:
        return _cost_of_file(material, material.trained.exported)
    from utils.networks.summary import summarize, time_forward

    size = material.trained.config.data.image_size
    summary = summarize(material.trained.model, size, material.machine.device)
    (timing,) = time_forward([material.trained.model], size, material.machine.device)
    rate = len(material.split) / max(1e-9, material.seconds)
    figures = {
        "parameters": summary.parameters,
        "multiply_adds": summary.multiply_adds,
        "weight_bytes": summary.weight_bytes,
        "checkpoint_bytes": os.path.getsize(material.trained.path),
        "forward": timing.to_dict(),
        "images_per_second": rate,
    }
    rows = [
        ["parameters", f"{summary.parameters / 1e6:.2f} M"],
        ["multiply-adds an image", f"{summary.multiply_adds / 1e6:.1f} M at {size[0]}x{size[1]}"],
        ["weights in memory", f"{summary.weight_bytes / 2**20:.1f} MiB"],
        ["checkpoint on disk", f"{figures['checkpoint_bytes'] / 2**20:.1f} MiB"],
        ["one image alone, in fp32", str(timing)],
        ["this evaluation, reading included", f"{say_rate(rate)} images/s"],
        ["machine", f"{describe_machine(material.machine.device)}; {material.machine.precision}"],
    ]
    blocks = [table(["", ""], rows), *([paragraph(f"Do not rely on the time of one image: {timing.doubt()}.")] if timing.doubt() else [])]
    # A tile is read as a property of the model, so a disturbed measurement is not shown there.
    tiles = {"one image": f"{timing.median * 1e3:.1f} ms"} if timing.is_steady else {}
    return ReportPart(tiles, [("Speed and size", blocks)], {"cost": figures})


def _cost_of_file(material: Measured, exported: Exported) -> ReportPart:
    """Return how large an exported file is, and how fast in its runtime."""
    size, device = material.trained.preprocess.image_size, material.machine.device
    image = torch.zeros((1, 3, *size), dtype=torch.uint8, device=device)
    with torch.inference_mode():
        (timing,) = measure_times([lambda: next(iter(exported.ask(image).values())).cpu()])
    rate, stored = len(material.split) / max(1e-9, material.seconds), exported.bytes()
    rows = [
        ["file on disk", f"{stored / 2**20:.1f} MiB, {exported.facts.exported_as}, {exported.facts.precision}"],
        ["one image alone", f"{timing}, of {size[0]}x{size[1]} pixels"],
        ["this evaluation, reading included", f"{rate:.0f} images/s"],
        ["machine", describe_machine(device)],
    ]
    blocks = [table(["", ""], rows), *([paragraph(f"Do not rely on the time of one image: {timing.doubt()}.")] if timing.doubt() else [])]
    tiles = {"one image": f"{timing.median * 1e3:.1f} ms"} if timing.is_steady else {}
    figures = {"file_bytes": stored, "forward": timing.to_dict(), "images_per_second": rate}
    return ReportPart(tiles, [("Speed and size", blocks)], {"cost": figures})


def _how_intervals(material: Measured) -> str:
    over = material.over_groups()
    return f"95%: {material.how_intervals} with seed {material.seed}" + (f";{over}, which are resampled as a whole" if over else "")


def origin(material: Measured) -> ReportPart:
    """Return what was measured, on what, and how."""
    trained = material.trained
    lost = f"; {material.unreadable} more cannot be read and are not counted: see unreadable.csv" if material.unreadable else ""
    rows = [
        ["model", trained.describe()],
        ["images", f"{len(material.split)} {material.split.name} images of {material.split.display_path}{lost}"],
        *([["loss of training", trained.config.loss.canonical()]] if trained.exported is None else []),
        *([name, value] for name, value in material.choices().items()),
        ["views", material.views or "one per image"],
        ["intervals", _how_intervals(material)],
        ["files", "report.json holds all figures; the folder figures the tables as CSV and the pictures"],
    ]
    return ReportPart(sections=[("How this was measured", [table(["", ""], rows)])])
