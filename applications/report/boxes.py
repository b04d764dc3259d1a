"""What a report says of boxes: COCO's figures with intervals, classes, curves, what goes wrong, the images to look at."""

import numpy as np

from applications.report.box_images import images_part, mistakes_part
from applications.report.measured_boxes import MeasuredBoxes
from applications.report.report_part import ReportPart, as_percent
from applications.report.shared_sections import intervals_table
from utils.drawing.chart_panels import Panel, draw_panels
from utils.drawing.images import file_uri
from utils.drawing.plots import draw_confusion
from utils.files import write_csv
from utils.metrics.average_precision import RECALLS
from utils.metrics.box_confusion import confusion_of
from utils.metrics.box_curves import BoxCurves
from utils.metrics.box_errors import MEANINGS, costs
from utils.metrics.box_reliability import box_reliability
from utils.metrics.calibration import BINS
from utils.page import paragraph, picture, table

# Curves of single classes in a diagram; of more, those of the lowest AP.
MOST_CURVES = 4
CONFUSIONS = 15
BACKGROUND = "(nothing)"


def report_parts(material: MeasuredBoxes) -> list[ReportPart]:
    """Return the parts of the report, in the order of the page."""
    return [
        _headline(material),
        _classes(material),
        _curves(material),
        _errors(material),
        _confusion(material),
        images_part(material),
        mistakes_part(material),
        _calibration(material),
    ]


def _headline(material: MeasuredBoxes) -> ReportPart:
    found, summary, at = material.headline, material.meter.coco.summary, material.at_confidence
    write_csv(
        material.attachments / "intervals.csv",
        [["figure", "value", "low", "high"], *([name, each.value, each.low, each.high] for name, each in material.intervals.items())],
    )
    rows = [[name.replace("_", " "), "no such objects" if value < 0 else as_percent(value)] for name, value in summary.items()]
    note = (
        "AP is the mean over overlaps from 50% to 95% and over classes, AP50 and AP75 are at one overlap; small objects have an area below "
        "32x32 pixels, large ones of 96x96 or more; AR10 looks at the ten surest boxes of each class and image. Boxes are compared on "
        f"the original images. The intervals are of 95%, over images{material.over_groups()}."
    )
    least = f"With a score of {material.task.confidence:.3f} or more: "
    least += ", ".join(f"{name} {as_percent(value)}" for name, value in at.items())
    least += ". Precision and recall are those of all boxes, F1 is the mean of the classes; a box finds an object that it overlaps by half."
    blocks = [intervals_table(found), paragraph(least), table(["COCO's figures", ""], rows), paragraph(note, tone="soft")]
    tiles = {name: as_percent(each.value) for name, each in found.items()} | {name: as_percent(value) for name, value in at.items()}
    figures = {name: each.to_dict() for name, each in material.intervals.items()}
    return ReportPart(tiles, [("How good is it?", blocks)], {"figures": figures, "coco": dict(summary), "at_confidence": at})


def _classes(material: MeasuredBoxes) -> ReportPart:
    at, coco = material.classes_at_confidence, material.meter.coco
    ap, ap50 = coco.ap(), coco.ap(0)
    best = material.curves.f1
    lines = []
    for number in np.argsort(np.where(at.real > 0, ap, 2), kind="stable").tolist():
        name, occurs = material.classes[number], at.real[number] > 0
        interval = material.intervals.get(f"AP of {name}")
        spread = "does not occur" if interval is None else f"{interval.low:.1%} to {interval.high:.1%}"
        own = material.curves.steps[int(best[number].argmax())] if occurs and best[number].max() else None
        cells = [as_percent(float(ap[number])), spread, as_percent(float(ap50[number]))] if occurs else ["", spread, ""]
        cells += [
            as_percent(float(at.precision[number])) if at.said[number] else "",
            as_percent(float(at.recall[number])) if occurs else "",
        ]
        cells += ["" if own is None else f"{own:.3f}", str(at.real[number]), str(at.said[number])]
        lines.append([name, *cells])
    header = ["class", "AP", "95% interval", "AP50", "precision", "recall", "least score of its best F1", "objects", "answered"]
    write_csv(material.attachments / "classes.csv", [header, *lines])
    return ReportPart(sections=[("Classes, the worst first", [table(header, lines)])])


def _curves(material: MeasuredBoxes) -> ReportPart:
    coco, curves = material.meter.coco, material.curves
    occurs = np.flatnonzero(curves.real > 0)
    shown = occurs[np.argsort(coco.ap()[occurs], kind="stable")][:MOST_CURVES].tolist()
    steps = curves.steps.tolist()
    by_recall = {material.classes[number]: (RECALLS.tolist(), coco.precision[0, :, number, 0].tolist()) for number in shown}
    by_score = {material.classes[number]: (steps, curves.f1[number].tolist()) for number in shown}
    if len(occurs) > 1:
        mean = coco.precision[0][:, occurs, 0].mean(1)
        by_recall = {"mean of the classes": (RECALLS.tolist(), mean.tolist()), **by_recall}
        by_score = {"mean of the classes": (steps, curves.mean_f1().tolist()), **by_score}
    place = material.attachments / "curves.png"
    panels = [
        Panel("precision by recall, at an overlap of 50%", "recall", "precision", by_recall, percent=True),
        Panel(f"F1 by the least score; chosen: {material.task.confidence:.3f}", "least score", "F1", by_score, percent=True),
    ]
    draw_panels(panels, place)
    rows = ([f"{step:.3f}", material.classes[each], *_at(curves, each, at)] for at, step in enumerate(steps) for each in occurs.tolist())
    write_csv(material.attachments / "curves.csv", [["least score", "class", "precision", "recall", "F1"], *rows])
    blocks = [picture(file_uri(place), alt="curves of precision, recall and F1")]
    if len(occurs) > len(shown):
        blocks.append(paragraph(f"The {len(shown)} classes of the lowest AP are drawn; figures/curves.csv has all.", tone="soft"))
    return ReportPart(sections=[("Precision, recall and the least score", blocks)])


def _at(curves: BoxCurves, number: int, place: int) -> list[str]:
    return [f"{values[number, place]:.4f}" for values in (curves.precision, curves.recall, curves.f1)]


def _errors(material: MeasuredBoxes) -> ReportPart:
    rises, counts = costs(material.errors, len(material.classes)), material.errors_at_confidence.counts()
    order = sorted(MEANINGS, key=lambda name: -rises[name])
    lines = [[name, MEANINGS[name], str(counts[name]), f"{100 * rises[name]:.1f}"] for name in order]
    header = ["kind", "what it is", f"with a score of {material.task.confidence:.3f} or more", "AP50 points that it costs"]
    write_csv(material.attachments / "errors.csv", [header, *lines])
    note = (
        "The last column is by how many points AP50 would rise if the errors of this kind alone were mended, among all answers (TIDE, "
        "arXiv 2008.08115). The figures do not add up: once one kind is mended, the others matter more."
    )
    blocks = [table(header, lines), paragraph(note, tone="soft")]
    return ReportPart(sections=[("What goes wrong, and what it costs", blocks)], figures={"errors": counts, "error_costs": rises})


def _confusion(material: MeasuredBoxes) -> ReportPart:
    matrix = confusion_of(material.errors_at_confidence, len(material.classes))
    names = [*material.classes, BACKGROUND]
    place = material.attachments / "confusion.png"
    draw_confusion(matrix, names, place, of="boxes")
    rows = ([name, *row] for name, row in zip(names, matrix.tolist(), strict=True))
    write_csv(material.attachments / "confusion.csv", [["true \\ answered", *names], *rows])
    wrong = matrix * (1 - np.eye(len(matrix), dtype=np.int64))
    cells = [divmod(each, len(matrix)) for each in np.argsort(-wrong.ravel(), kind="stable")[:CONFUSIONS].tolist()]
    lines = [[names[row], names[column], str(wrong[row, column])] for row, column in cells if wrong[row, column]]
    note = "The last row holds answers where no object is, the last column objects that no answer of any class frames."
    header = ["object", "answered as", "boxes"]
    blocks = [picture(file_uri(place), alt="confusion of classes"), paragraph(note, tone="soft")]
    blocks.append(table(header, lines) if lines else paragraph("No box is wrong."))
    return ReportPart(sections=[("What is taken for what", blocks)])


def _calibration(material: MeasuredBoxes) -> ReportPart:
    reliability = box_reliability(material.meter.matches)
    bins, error, answered = reliability.bins(), material.calibration_error, material.reliability
    counts, place = bins.counts, material.attachments / "calibration.png"
    left = [number / BINS for number in range(BINS)]
    strengths = (0.1 + 0.8 * np.minimum(1.0, counts / 20)).tolist()
    bars = (left, bins.accuracy.tolist(), strengths, 1 / BINS)
    title = f"answers of all scores; {len(answered.scores)} have {material.task.confidence:.3f} or more"
    draw_panels([Panel(title, "score", "share that finds an object", bars=bars, shares=True)], place)
    rows = [
        [f"{edge:.4f}", int(count), f"{score * count:.4f}", round(share * count)]
        for edge, count, score, share in zip(left, counts, bins.confidence, bins.accuracy, strict=True)
    ]
    write_csv(material.attachments / "calibration.csv", [["bin from", "answers", "sum of scores", "right"], *rows])
    note = (
        "Of the boxes answered with a score of 80%, how many find an object? Scores of detectors rank boxes; few are probabilities. D-ECE "
        "(arXiv 2004.13546) is the mean distance of the two in 15 bins, over the boxes that reach the least score; its interval is of 95%."
    )
    blocks = [paragraph(note), picture(file_uri(place), alt="reliability diagram")]
    if len(answered.scores):
        means = f"mean score {as_percent(float(answered.scores.mean()))}, {as_percent(float(answered.right.mean()))} find an object"
        blocks.insert(1, paragraph(f"D-ECE {error.text('.1%')}: {means}."))
    return ReportPart(sections=[("What does a score mean?", blocks)], figures={"calibration_error": error.to_dict()})
