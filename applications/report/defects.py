"""What a report says of defects: figures with intervals, kinds, scores of good and bad images, misses and false alarms with heat maps."""

import numpy as np

from applications.report.measured_defects import MeasuredDefects
from applications.report.report_part import ReportPart, as_percent
from applications.report.shared_sections import intervals_table
from dataloader.targets.defect import GOOD, Defect
from utils.drawing.chart_panels import Panel, draw_panels
from utils.drawing.defect_pictures import outlined, shown_heat
from utils.drawing.images import data_uri, enlarged, file_uri, overlay, thumbnail
from utils.drawing.mask_pictures import beside_one_another
from utils.files import write_csv
from utils.page import Card, gallery, paragraph, picture, table
from utils.text import counted

SHOWN, SIDE, BINS = 12, 300, 40
TWO_IN_A_ROW = ".gallery.wide { grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr)); }"


def report_parts(material: MeasuredDefects) -> list[ReportPart]:
    """Return the parts of the report, in the order of the page."""
    return [_headline(material), _kinds(material), _scores(material), _mistakes(material), _strangest(material)]


def _headline(material: MeasuredDefects) -> ReportPart:
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


def _kinds(material: MeasuredDefects) -> ReportPart:
    header, *rows = material.task.table(material.meter)
    return ReportPart(sections=[("Kinds of defects", [table(header, rows)])])


def _scores(material: MeasuredDefects) -> ReportPart:
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


def _mistakes(material: MeasuredDefects) -> ReportPart:
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


def _strangest(material: MeasuredDefects) -> ReportPart:
    order = np.argsort(-material.meter.images.scores, kind="stable")[:SHOWN]
    note = "Each image beside its heat map; marked defects have an outline."
    return ReportPart(sections=[("The strangest images", [paragraph(note, tone="soft"), _gallery(material, order, "")])])


def _gallery(material: MeasuredDefects, rows: np.ndarray, tone: str) -> str:
    images, cards = material.meter.images, []
    for row in rows.tolist():
        index = int(images.indices[row])
        image, target = material.split.read(index), material.split.target(index)
        assert isinstance(target, Defect)
        (answer,) = material.heat.answers([image])
        pictures = [outlined(image, target.mask.ids == 1), overlay(image, shown_heat(answer.heat))]
        said = f"{images.kinds[row]}, score {images.scores[row]:.4f}"
        pair = beside_one_another([enlarged(thumbnail(each, SIDE), SIDE) for each in pictures])
        cards.append(Card(data_uri(pair), [said, material.split.paths[index]], tone))  # pyright: ignore[reportArgumentType]
    return gallery(cards, wide=True)
