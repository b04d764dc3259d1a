"""What a report says of masks: figures with intervals, classes, what is taken for what, the worst images, calibration."""

from itertools import islice

import numpy as np

from applications.report.measured_masks import NAMES, MeasuredMasks
from applications.report.report_part import ReportPart, as_percent
from applications.report.shared_sections import intervals_table
from applications.tasks.mask_figures import ClassPixels
from applications.tasks.mask_rows import AREAS, OUTLINES, figures_of
from dataloader.targets.mask import IGNORE, Mask
from utils.drawing.chart_panels import Panel, draw_panels
from utils.drawing.images import data_uri, enlarged, file_uri, thumbnail
from utils.drawing.mask_pictures import beside_one_another, class_colors, error_map, laid_over
from utils.drawing.plots import draw_confusion
from utils.files import write_csv
from utils.metrics.boundaries import BoundaryPixels
from utils.page import Card, escaped, gallery, paragraph, picture, table

WORST, CONFUSIONS, SIDE = 12, 15, 300


def report_parts(material: MeasuredMasks) -> list[ReportPart]:
    """Return the parts of the report, in the order of the page."""
    return [_headline(material), _classes(material), _confusion(material), _worst(material), _calibration(material)]


def _headline(material: MeasuredMasks) -> ReportPart:
    found = {NAMES[name]: each for name, each in material.intervals.items() if name in NAMES}
    write_csv(
        material.attachments / "intervals.csv",
        [["figure", "value", "low", "high"], *([name, each.value, each.low, each.high] for name, each in material.intervals.items())],
    )
    note = (
        "Pixels are counted at the size of each image, whatever the network saw; those that the masks do not tell count for nothing. "
        f"Means go over the {int(material.meter.pixels.occurs.sum())} classes that occur. The intervals are of 95%, over "
        f"images{material.over_groups()}; an outline may be off by 0.75% of the diagonal."
    )
    blocks = [intervals_table(found), paragraph(note, tone="soft")]
    figures = {name: each.to_dict() for name, each in material.intervals.items()}
    tiles = {name: as_percent(each.value) for name, each in found.items()}
    return ReportPart(tiles, [("How good is it?", blocks)], {"figures": figures})


def _classes(material: MeasuredMasks) -> ReportPart:
    _, rows = material.rows
    total = rows.sum(0)
    pixels, images = ClassPixels(*total[AREAS]), (rows[:, 1] > 0).sum(0)
    f1 = BoundaryPixels(*total[OUTLINES]).f1()
    share = pixels.real / max(1, int(pixels.real.sum()))
    lines = []
    for number in np.argsort(np.where(pixels.occurs, pixels.iou(), 2), kind="stable").tolist():
        name = material.classes[number]
        iou = material.intervals.get(f"IoU of {name}")
        spread = "does not occur" if iou is None else f"{iou.low:.1%} to {iou.high:.1%}"
        values = ("" if iou is None else f"{value:.1%}" for value in (pixels.iou()[number], pixels.dice()[number], f1[number]))
        value, dice, outlined = values
        lines.append([name, value, spread, dice, outlined.replace("nan%", ""), f"{share[number]:.2%}", str(images[number])])
    header = ["class", "IoU", "95% interval", "Dice", "boundary F1", "share of the pixels", "images"]
    write_csv(material.attachments / "classes.csv", [header, *lines])
    return ReportPart(sections=[("Classes, the worst first", [table(header, lines)])])


def _confusion(material: MeasuredMasks) -> ReportPart:
    matrix = material.meter.matrix
    place = material.attachments / "confusion.png"
    draw_confusion(matrix, material.classes, place, of="pixels", counts=False)
    wrong = matrix * (1 - np.eye(len(matrix), dtype=np.int64))
    real, every = np.maximum(matrix.sum(1), 1), max(1, int(wrong.sum()))
    order = islice(np.argsort(-wrong.ravel(), kind="stable").tolist(), CONFUSIONS)
    cells = [divmod(each, len(matrix)) for each in order]
    lines = [
        [material.classes[row], material.classes[column], f"{wrong[row, column] / real[row]:.1%}", f"{wrong[row, column] / every:.1%}"]
        for row, column in cells
        if wrong[row, column]
    ]
    header = ["class", "taken for", "share of the class", "share of all mistakes"]
    blocks = [picture(file_uri(place), alt="confusion of classes"), table(header, lines) if lines else paragraph("No pixel is wrong.")]
    return ReportPart(sections=[("What is taken for what", blocks)])


def _worst(material: MeasuredMasks) -> ReportPart:
    positions, rows = material.rows
    figures = [figures_of(row) for row in rows]
    # Of images without a known pixel nothing can be said.
    told = [number for number, row in enumerate(rows) if row[1].sum()]
    order = sorted(told, key=lambda number: figures[number]["mIoU"])
    listed = [["image", *NAMES.values()]]
    listed += [[material.split.paths[positions[number]], *(f"{figures[number][name]:.4f}" for name in NAMES)] for number in order]
    write_csv(material.attachments / "images.csv", listed)
    colors, cards = class_colors(len(material.classes)), []
    for number in order[:WORST]:
        index = positions[number]
        image, mask, answer = material.split.read(index), material.split.target(index), material.answer(index)
        assert isinstance(mask, Mask)
        known = mask.ids != IGNORE
        pictures = [image, laid_over(image, mask.ids, colors), laid_over(image, answer, colors), error_map(mask.ids, answer, known)]
        row = beside_one_another([enlarged(thumbnail(each, SIDE), SIDE) for each in pictures])
        said = f"mIoU {figures[number]['mIoU']:.1%}, {figures[number]['pixel_accuracy']:.1%} of the pixels right"
        cards.append(Card(data_uri(row), [said, material.split.paths[index]], "bad"))
    note = "Each with its truth, the answer, and where that is wrong (red; black is not known). All images are in figures/images.csv."
    blocks = [paragraph(note, tone="soft"), _legend(material, colors), gallery(cards, wide=True)]
    return ReportPart(sections=[("The worst images", blocks)], style=".gallery.wide { grid-template-columns: 1fr; }")


def _legend(material: MeasuredMasks, colors: np.ndarray) -> str:
    squares = [np.broadcast_to(color, (14, 14, 3)).astype(np.uint8) for color in colors]
    names = zip(squares, material.classes, strict=True)
    return "<p>" + " ".join(f'<img src="{data_uri(square, quality=95)}" alt=""> {escaped(name)}&nbsp;' for square, name in names) + "</p>"


def _calibration(material: MeasuredMasks) -> ReportPart:
    counts, confidence, right = material.meter.bins
    total = max(1.0, counts.sum())
    error = float(np.abs(confidence - right).sum() / total)
    width = 1 / len(counts)
    heights = (right / np.maximum(counts, 1)).tolist()
    strengths = (0.1 + 0.8 * np.minimum(1.0, counts / total * len(counts))).tolist()
    left = [number * width for number in range(len(counts))]
    place = material.attachments / "calibration.png"
    title = f"expected calibration error {as_percent(error, 2)}"
    draw_panels([Panel(title, "probability", "share that is right", bars=(left, heights, strengths, width), shares=True)], place)
    rows = ([f"{edge:.4f}", *map(str, each)] for edge, each in zip(left, material.meter.bins.T.tolist(), strict=True))
    write_csv(material.attachments / "calibration.csv", [["bin from", "pixels", "sum of probabilities", "right"], *rows])
    note = "Of the pixels answered with 80%, 80% should be right. The bars show how many were; pale ones are of few pixels."
    blocks = [paragraph(note), picture(file_uri(place), alt="reliability diagram")]
    return ReportPart(
        {"calibration error": as_percent(error)}, [("Can the probabilities be trusted?", blocks)], {"calibration_error": error}
    )
