"""What a report says of defects: figures with intervals, kinds, scores of good and bad images, misses and false alarms with heat maps."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from applications.report.report_input import Measured, ReportPart, as_percent
from applications.report.shared_sections import intervals_table
from applications.tasks.anomaly import Anomaly
from applications.tasks.defect_meter import DefectMeter
from applications.trained.defect_heat import HeatMaps
from dataloader.targets.defect import GOOD, Defect
from utils.chart_panels import Panel, draw_panels
from utils.defect_pictures import outlined, shown_heat
from utils.files import write_csv
from utils.images import data_uri, enlarged, file_uri, overlay, thumbnail
from utils.mask_pictures import beside_one_another
from utils.page import Card, gallery, paragraph, picture, table
from utils.statistics import Interval
from utils.text import counted

SHOWN, SIDE, BINS = 12, 300, 40
TWO_IN_A_ROW = ".gallery.wide { grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr)); }"


@dataclass(frozen=True, kw_only=True)
class DefectReport(Measured):
    """A measured detector.

    Attributes:
        meter: with the scores of all images, and counts of pixels.
        heat: answers for single images.
    """

    task: Anomaly
    meter: DefectMeter
    heat: HeatMaps

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """The figures with their 95% intervals over images, or over their groups."""
        groups = None if self.groups is None else np.unique(self.groups[self.meter.images.indices], return_inverse=True)[1]
        return self.meter.intervals(groups)


def report_parts(material: DefectReport) -> list[ReportPart]:
    """Return the parts of the report, in the order of the page."""
    return [_headline(material), _kinds(material), _scores(material), _mistakes(material), _strangest(material)]


def _headline(material: DefectReport) -> ReportPart:
    found = {name.replace("_", " "): each for name, each in material.intervals.items()}
    figures = material.meter.figures()
    tiles = {name.replace("_", " "): as_percent(value) for name, value in figures.items()}
    rows = [["figure", "value", "low", "high"], *([name, each.value, each.low, each.high] for name, each in material.intervals.items())]
    write_csv(material.attachments / "intervals.csv", rows)
    notes = [
        f"Pixels are those of the images in their files; images with defects that nobody has marked count for images alone. "
        f"AUPRO is the mean share of each connected defect that is found, over false-positive rates up to 30%. The intervals are of 95%, "
        f"over images{material.over_groups()}."
    ]
    threshold = material.task.threshold
    if threshold is not None:
        notes.insert(0, f"Threshold {threshold.describe()}. These images had no say in it." if material.split.name != "val" else "")
    blocks = [intervals_table(found), *(paragraph(note, tone="soft") for note in notes if note)]
    return ReportPart(
        tiles, [("How good is it?", blocks)], {"figures": {name: each.to_dict() for name, each in material.intervals.items()}}
    )


def _kinds(material: DefectReport) -> ReportPart:
    header, *rows = material.task.table(material.meter)
    return ReportPart(sections=[("Kinds of defects", [table(header, rows)])])


def _scores(material: DefectReport) -> ReportPart:
    """Show how the scores of good images and of each kind are spread, and where the threshold lies."""
    images, edges = material.meter.images, np.linspace(0, 1, BINS + 1)
    curves, top = {}, 0
    for kind in [*([GOOD] if len(images.of(GOOD)) else []), *material.meter.kinds]:
        counts = np.histogram(images.of(kind), edges)[0]
        top = max(top, int(counts.max()))
        # Steps: each edge twice.
        curves[kind] = (np.repeat(edges, 2)[1:-1].tolist(), np.repeat(counts, 2).tolist())
    threshold = material.meter.threshold
    if threshold is not None:
        curves["threshold"] = ([threshold, threshold], [0, top])
    place = material.attachments / "scores.png"
    draw_panels([Panel("scores of images", "score", "images", curves)], place)
    note = "Good images lie on the left, defects on the right; 0.5 is the largest score of the good images that set the scale."
    return ReportPart(sections=[("Scores", [paragraph(note, tone="soft"), picture(file_uri(place), alt="histogram of scores")])])


def _mistakes(material: DefectReport) -> ReportPart:
    images, threshold = material.meter.images, material.meter.threshold
    if threshold is None:
        return ReportPart()
    named, bad = images.scores >= threshold, images.bad
    sections = []
    for title, wrong, rising in (("Missed defects", bad & ~named, True), ("False alarms", ~bad & named, False)):
        places = np.flatnonzero(wrong)
        order = places[np.argsort(images.scores[places] if rising else -images.scores[places], kind="stable")]
        if len(order):
            shown = f", the {SHOWN} farthest from the threshold" if len(order) > SHOWN else ""
            blocks = [paragraph(f"{counted(len(order), 'image')}{shown}.", tone="soft"), _gallery(material, order[:SHOWN], "bad")]
        else:
            blocks = [paragraph("None." if (bad if rising else ~bad).any() else "There are no such images in this split.")]
        sections.append((title, blocks))
    return ReportPart(sections=sections, style=TWO_IN_A_ROW)


def _strangest(material: DefectReport) -> ReportPart:
    order = np.argsort(-material.meter.images.scores, kind="stable")[:SHOWN]
    note = "Each image beside its heat map; marked defects have an outline."
    return ReportPart(sections=[("The strangest images", [paragraph(note, tone="soft"), _gallery(material, order, "")])])


def _gallery(material: DefectReport, rows: np.ndarray, tone: str) -> str:
    images, cards = material.meter.images, []
    for row in rows.tolist():
        index = int(images.indices[row])
        image, target = material.split.read(index), material.split.target(index)
        assert isinstance(target, Defect)
        (answer,) = material.heat.of([image])
        pictures = [outlined(image, target.mask.ids == 1), overlay(image, shown_heat(answer.heat))]
        said = f"{images.kinds[row]}, score {images.scores[row]:.4f}"
        pair = beside_one_another([enlarged(thumbnail(each, SIDE), SIDE) for each in pictures])
        cards.append(Card(data_uri(pair), [said, material.split.paths[index]], tone))  # pyright: ignore[reportArgumentType]
    return gallery(cards, wide=True)
