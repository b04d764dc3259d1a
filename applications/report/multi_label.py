"""What a report says of images with several labels each."""

import numpy as np

from applications.report.embedding import embedding_map
from applications.report.label_issues import label_section, suspicious_label_sets
from applications.report.measured_labels import MeasuredLabels
from applications.report.report_part import ReportPart, Thumbnails, as_percent
from applications.report.shared_sections import (
    HARDEST,
    LOSS_NOTE,
    SHARES,
    broken_promise,
    calibration,
    hard_images,
    intervals_table,
    support,
)
from applications.report.temperature_scaling import everything, scale
from applications.tasks.label_answers import decide
from applications.tasks.label_figures import multi_label_metrics
from utils.drawing.chart_panels import Panel, draw_panels
from utils.drawing.images import file_uri
from utils.files import write_csv
from utils.metrics.calibration import measure_reliability
from utils.metrics.grouped_statistics import cluster_mean, cluster_share
from utils.metrics.risk_control import NEVER
from utils.metrics.statistics import Interval, bootstrap, falling, macro_f1, weighted_average_precision
from utils.page import Tone, folded, paragraph, picture, table

# mAP is costly for each resample; on large sets fewer resamples are enough.
RESAMPLES, MOST_CELLS = 400, 200_000_000
CURVE_POINTS = 200
CURVES_SHOWN = 12


def report_parts(material: MeasuredLabels) -> list[ReportPart]:
    """Return the parts of the report, in the order of the page."""
    prediction = material.prediction
    truth = prediction.targets.numpy() >= 0.5
    named = decide(prediction.probabilities, material.trained.calibration.thresholds).numpy()
    pictures = Thumbnails(material.split.show)
    scaled = scale(material, everything)
    before, after = (measure_reliability(each.ravel(), truth.ravel()) for (each,) in (scaled.before, scaled.after))
    joined = [[_join(material.classes, row) for row in flags] for flags in (truth, named)]
    return [
        _headline(material, truth, named),
        _per_label(material, truth, named),
        _curves(material, truth),
        _hard(material, pictures, truth, named, joined),
        label_section(material, pictures, suspicious_label_sets(truth, prediction.probabilities.numpy()), *joined),
        calibration(material, scaled, before, after, what="labels"),
        embedding_map(material, np.where(truth.any(1), truth.argmax(1), -1), (truth == named).all(1)),
    ]


def _headline(material: MeasuredLabels, truth: np.ndarray, named: np.ndarray) -> ReportPart:
    prediction = material.prediction
    of = multi_label_metrics(prediction.probabilities.numpy(), truth, named, prediction.losses.numpy())
    groups, draws = material.groups, max(100, min(RESAMPLES, MOST_CELLS // max(1, truth.size)))
    found = bootstrap(of, len(truth), seed=material.seed, resamples=draws, shares=SHARES, groups=groups)
    found["macro F1"] = macro_f1(truth, named, groups)
    found["loss"] = cluster_mean(prediction.losses.numpy(), groups, seed=material.seed)
    found["all labels right"] = cluster_share((truth == named).all(1), groups)
    rows = ([name, each.value, each.low, each.high] for name, each in found.items())
    write_csv(material.attachments / "intervals.csv", [["figure", "value", "low", "high"], *rows])
    tiles = {name: as_percent(found[name].value) for name in ("mAP", "micro F1", "all labels right")}
    note = f"Intervals of 95%{material.over_groups()}. The thresholds were {material.origin_of_thresholds()}. {LOSS_NOTE}"
    plain = {name: each.to_dict() for name, each in found.items()}
    return ReportPart(tiles, [("Figures", [intervals_table(found), paragraph(note, tone="soft")])], {"intervals": plain})


def _per_label(material: MeasuredLabels, truth: np.ndarray, named: np.ndarray) -> ReportPart:
    thresholds = material.trained.calibration.thresholds
    assert thresholds is not None
    order, last = falling(material.prediction.probabilities.numpy())
    averages = weighted_average_precision(order, last, truth, np.ones(len(truth), dtype=int))
    rows, plain = [], {}
    for number, name in enumerate(material.classes):
        real, said = truth[:, number], named[:, number]
        both = real & said
        recall, precision = (cluster_share(both[own], None if material.groups is None else material.groups[own]) for own in (real, said))
        shown = [
            "never" if thresholds[number] >= NEVER else f"{thresholds[number]:.4f}",
            str(real.sum()),
            as_percent(float(averages[number])),
        ]
        rows.append(
            [name, *shown, *(_with_limits(each) for each in (recall, precision)), str((~real & said).sum()), str((real & ~said).sum())]
        )
        plain[name] = {
            "threshold": thresholds[number],
            "images": int(real.sum()),
            "average_precision": float(averages[number]),
            "recall": recall.to_dict(),
            "precision": precision.to_dict(),
        }
    note = f"Thresholds were {material.origin_of_thresholds()}. In brackets Wilson intervals of 95%{material.over_groups()}."
    figures = {"labels": plain} | ({"broken": material.broken} if material.promise else {})
    header = ["label", "threshold", "images", "average precision", "recall", "precision", "named wrongly", "missed"]
    return ReportPart(
        sections=[("Labels", [*broken_promise(material), *support(material), table(header, rows), paragraph(note, tone="soft")])],
        figures=figures,
    )


def _with_limits(interval: Interval) -> str:
    if np.isnan(interval.value):
        return "-"
    return f"{as_percent(interval.value)} ({as_percent(interval.low, 0)} to {as_percent(interval.high, 0)})"


def _curves(material: MeasuredLabels, truth: np.ndarray) -> ReportPart:
    """Return precision against recall of the labels, at every threshold."""
    from sklearn.metrics import precision_recall_curve

    rows = [["label", "threshold", "precision", "recall"]]
    probabilities = material.prediction.probabilities.numpy()
    panels = []
    for number, name in enumerate(material.classes):
        if not truth[:, number].any():
            continue
        precision, recall, cuts = precision_recall_curve(truth[:, number], probabilities[:, number])
        kept = np.unique(np.linspace(0, len(cuts) - 1, min(len(cuts), CURVE_POINTS)).round().astype(int))
        rows += [[name, f"{cuts[k]:.6f}", f"{precision[k]:.6f}", f"{recall[k]:.6f}"] for k in kept]
        by_recall = {"": (recall.tolist(), precision.tolist())}
        against = {"precision": (cuts[kept].tolist(), precision[kept].tolist()), "recall": (cuts[kept].tolist(), recall[kept].tolist())}
        panels.append([Panel(name, "recall", "precision", by_recall), Panel(name, "threshold", "share", against)])
    write_csv(material.attachments / "precision_recall.csv", rows)
    blocks = [paragraph("What other thresholds would give. A label that must not be missed needs a lower one.")]
    for number, pair in enumerate(panels[:CURVES_SHOWN]):
        place = material.attachments / f"precision_recall_{number}.png"
        draw_panels(pair, place)
        view = picture(file_uri(place), alt=f"precision and recall of {pair[0].title}")
        blocks.append(view if number == 0 else folded(pair[0].title, view))
    if len(panels) > CURVES_SHOWN:
        blocks.append(paragraph(f"The first {CURVES_SHOWN} labels; figures/precision_recall.csv has all.", tone="soft"))
    return ReportPart(sections=[("Precision, recall and thresholds", blocks)])


def _hard(material: MeasuredLabels, pictures: Thumbnails, truth: np.ndarray, named: np.ndarray, joined: list[list[str]]) -> ReportPart:
    probabilities, losses = material.prediction.probabilities.numpy(), material.prediction.losses.numpy()
    thresholds = np.asarray(material.trained.calibration.thresholds)
    wrong = (truth != named).sum(1)
    # The distance of the label that is nearest to its threshold.
    margin = np.abs(probabilities - thresholds).min(1)
    lines = [[f"named: {said or 'nothing'}", f"is: {real or 'nothing'}"] for real, said in zip(*joined, strict=True)]
    tones: list[Tone] = ["bad" if count else "good" for count in wrong]
    most = np.lexsort((-losses, -wrong))
    groups = [
        ("Most wrong", "The largest number of wrong labels, then the highest loss.", most[wrong[most] > 0][:HARDEST]),
        ("Least sure", "The probability of a label is close to its threshold.", np.argsort(margin, kind="stable")[:HARDEST]),
        ("Highest loss", "The true labels have the lowest probability.", np.argsort(-losses, kind="stable")[:HARDEST]),
    ]
    return hard_images(material, pictures, groups, lines, tones)


def _join(classes: tuple[str, ...], flags: np.ndarray) -> str:
    return ", ".join(classes[number] for number in np.flatnonzero(flags))
