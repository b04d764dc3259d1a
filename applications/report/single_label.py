"""What a report says of images with one label each."""

from collections.abc import Mapping

import numpy as np
import torch

from applications.calibration.threshold_outcome import measure_rejection
from applications.report.confusion import STYLE, confusion_blocks
from applications.report.embedding import embedding_map
from applications.report.label_issues import label_section, suspicious_labels
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
from applications.report.temperature_scaling import scale
from applications.tasks.label_figures import Top, among_best, single_label_metrics, top_of
from utils.drawing.chart_panels import Panel, draw_panels
from utils.drawing.images import file_uri
from utils.files import write_csv
from utils.metrics.calibration import chance_error, measure_reliability
from utils.metrics.calibration_interval import calibration_error_interval
from utils.metrics.grouped_statistics import cluster_mean, cluster_share
from utils.metrics.risk_control import NEVER, RISK, images_wanted, limit_risk
from utils.metrics.statistics import Interval, bootstrap, confusion, macro_f1
from utils.page import Tone, heading, paragraph, picture, table
from utils.text import two_digits

CURVE_POINTS = 400
# Accuracies to choose from. 100% is not among them, since no number of images proves it.
WISHES = (0.95, 0.98, 0.99, 0.995, 0.999)


def report_parts(material: MeasuredLabels) -> list[ReportPart]:
    """Return the parts of the report, in the order of the page."""
    prediction, classes = material.prediction, material.classes
    targets, probabilities = prediction.targets.numpy(), prediction.probabilities.numpy()
    found = prediction.found.numpy()
    right, matrix = found == targets, confusion(targets, found, len(classes))
    pictures = Thumbnails(material.split.show)
    scaled = scale(material, top_of)
    before, after = (measure_reliability(Top(*each).confidence, right) for each in (scaled.before, scaled.after))
    labels = [classes[target] for target in targets], [classes[best] for best in found]
    return [
        _headline(material, Top(*scaled.after)),
        ReportPart(sections=[("Confusion matrix", confusion_blocks(material, matrix, pictures))], style=STYLE),
        _per_class(material, matrix),
        _hard(material, pictures, targets, probabilities),
        label_section(material, pictures, suspicious_labels(targets, probabilities), *labels),
        calibration(material, scaled, before, after, what="answers"),
        _coverage(material, targets, probabilities),
        embedding_map(material, targets, right),
    ]


def _headline(material: MeasuredLabels, scaled: Top) -> ReportPart:
    prediction = material.prediction
    targets, probabilities, losses = prediction.targets.numpy(), prediction.probabilities.numpy(), prediction.losses.numpy()
    of, groups = single_label_metrics(targets, probabilities, losses, scaled), material.groups
    found = bootstrap(of, len(targets), seed=material.seed, shares=SHARES, groups=groups)
    hits = {"top1": probabilities.argmax(1) == targets} | ({"top5": among_best(targets, probabilities)} if "top5" in found else {})
    found |= {name: cluster_share(each, groups) for name, each in hits.items()}
    found["macro F1"] = macro_f1(targets, probabilities.argmax(1), groups)
    found["loss"] = cluster_mean(losses, groups, seed=material.seed)
    found["calibration error"] = calibration_error_interval(scaled.confidence, scaled.found == targets, groups, seed=material.seed)
    limit = as_percent(chance_error(scaled.confidence, seed=material.seed, groups=groups))
    note = f"Perfectly calibrated answers to these images would show a calibration error of up to {limit} by chance (in 95 of 100 cases)."
    write_csv(
        material.attachments / "intervals.csv",
        [["figure", "value", "low", "high"], *([name, each.value, each.low, each.high] for name, each in found.items())],
    )
    wrong = int((probabilities.argmax(1) != targets).sum())
    what = f"Intervals of 95%{material.over_groups()}: what other images of the same kind may give."
    notes = [paragraph(f"{what} {note} {LOSS_NOTE}", tone="soft")]
    tiles = {"top-1": as_percent(found["top1"].value), "of images wrong": f"{wrong} of {len(targets)}"}
    tiles |= {"macro F1": as_percent(found["macro F1"].value)}
    return ReportPart(tiles, [("Figures", [intervals_table(found), *notes])], {"intervals": _plain(found)})


def _plain(found: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    return {name: each.to_dict() for name, each in found.items()}


def _per_class(material: MeasuredLabels, matrix: np.ndarray) -> ReportPart:
    hits, true, answered, groups = np.diag(matrix), matrix.sum(1), matrix.sum(0), material.groups
    targets, found = material.prediction.targets.numpy(), material.prediction.found.numpy()
    rows, tones, plain = [], [], {}
    for number, name in enumerate(material.classes):
        members = (targets == number, found == number)
        recall, precision = (cluster_share((targets == found)[own], None if groups is None else groups[own]) for own in members)
        f1 = 2 * hits[number] / max(1, true[number] + answered[number])
        worst = matrix[number].copy()
        worst[number] = 0
        mistaken = f"{material.classes[worst.argmax()]}, {worst.max()}x" if worst.max() else ""
        shown = [
            f"{as_percent(each.value)} ({as_percent(each.low, 0)} to {as_percent(each.high, 0)})" if of[number] else "-"
            for each, of in ((recall, true), (precision, answered))
        ]
        rows.append([name, str(true[number]), *shown, as_percent(float(f1)), mistaken])
        tones.append(_tone(recall))
        plain[name] = {"images": int(true[number]), "recall": recall.to_dict(), "precision": precision.to_dict(), "f1": float(f1)}
    blocks = [
        table(["class", "images", "recall", "precision", "F1", "most often mistaken for"], rows, tones=tones),
        paragraph(
            "Recall: of the images of a class, how many were answered so. Precision: of the answers, how many were right. "
            f"In brackets Wilson intervals of 95%{material.over_groups()}.",
            tone="soft",
        ),
    ]
    return ReportPart(sections=[("Classes", blocks)], figures={"classes": plain})


def _tone(recall: Interval) -> Tone:
    return "bad" if recall.value < 0.5 else "warn" if recall.value < 0.8 else ""


def _coverage(material: MeasuredLabels, targets: np.ndarray, probabilities: np.ndarray) -> ReportPart:
    """Return accuracy against coverage when the least confident answers are rejected, and the outcome of a promise's thresholds."""
    confidence, right = material.prediction.confidence.numpy(), material.prediction.found.numpy() == targets
    threshold, coverage, accuracy = coverage_curve(confidence, right)
    points = np.unique(np.linspace(0, len(threshold) - 1, min(len(threshold), CURVE_POINTS)).round().astype(int))
    cells = ([f"{threshold[k]:.9g}", f"{coverage[k]:.6f}", f"{accuracy[k]:.6f}"] for k in points)
    write_csv(material.attachments / "coverage.csv", [["threshold", "coverage", "accuracy"], *cells])
    place = material.attachments / "coverage.png"
    curve = {"": (coverage[points].tolist(), accuracy[points].tolist())}
    draw_panels(
        [Panel("accepting the most confident answers", "coverage: share of answers accepted", "accuracy of those", curve, percent=True)],
        place,
    )
    rows, unit = material.separate, "images" if material.groups is None else "groups"
    rows = [[as_percent(wish), *certified_coverage(wish, confidence[rows], right[rows], unit=unit)] for wish in WISHES]
    counted_once = f" One image of each group is counted,{material.over_groups()}." if material.groups is not None else ""
    blocks = [
        paragraph("Answers below a probability can be left to a person. How right are the others then?"),
        picture(file_uri(place), alt="coverage and accuracy"),
        table(["accuracy wanted", "answers accepted", "from probability", "right of those here"], rows),
        paragraph(
            f"Each row holds for other images of the same kind at {as_percent(1 - RISK, 0)} confidence, so on these images the accuracy is "
            "higher than wanted. 'none' means that these images are too few, or their most confident answers are wrong too often."
            + counted_once,
            tone="soft",
        ),
    ]
    plain = {"coverage": {"coverage": coverage[points].tolist(), "accuracy": accuracy[points].tolist()}}
    if material.trained.calibration.reject is None:
        blocks.append(
            paragraph("--target 'error<=0.01' chooses a threshold for every class on val; with --calibrate it is stored.", tone="soft")
        )
    else:
        more, kept = _thresholds(material, targets, probabilities)
        blocks += more
        plain["rejection"] = kept
    return ReportPart(sections=[("Which answers to accept", blocks)], figures=plain)


def coverage_curve(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return falling thresholds (T,), the coverage at each (share of answers that reach it), and the accuracy of those; ties go together.

    Args:
        confidence: probabilities of the answers (N,).
        right: whether each is right, bool (N,).
    """
    order = np.argsort(-confidence, kind="stable")
    ranked, number = confidence[order].astype(np.float64), np.arange(1, len(order) + 1)
    last = np.append(ranked[1:] != ranked[:-1], True)
    return ranked[last], (number / len(order))[last], (right[order].cumsum() / number)[last]


def certified_coverage(wish: float, confidence: np.ndarray, right: np.ndarray, *, unit: str = "images") -> list[str]:
    """Return the answers that are certified to keep an accuracy on other images: their share, the threshold, their accuracy here.

    Args:
        wish: the accuracy.
        confidence: probabilities of the answers (N,).
        right: whether each is right, bool (N,).
        unit: what is counted.
    """
    failing = np.where(right, -1.0, confidence)
    kept = limit_risk(confidence, failing, 1 - wish, RISK)
    if kept.threshold >= NEVER:
        times = images_wanted(confidence, failing, 1 - wish, RISK)
        more = f": about {two_digits(times * len(right)):,} {unit} would be enough" if np.isfinite(times) else ""
        return [f"none{more}", "-", "-"]
    accepted = confidence[confidence >= kept.threshold]
    lower = confidence[confidence < kept.threshold].max(initial=0.0)
    shown = rounded_down(float(accepted.min()), above=float(lower))
    return [as_percent(kept.count / len(right)), shown, as_percent(1 - kept.failures / kept.count)]


def rounded_down(threshold: float, *, above: float) -> str:
    """Return a threshold rounded down to as few digits, at least four, as still separate it from the next lower probability."""
    for digits in range(4, 17):
        shown = np.floor(threshold * 10**digits) / 10**digits
        if above < shown <= threshold:
            return f"{shown:.{digits}f}"
    return repr(float(threshold))


def _thresholds(material: MeasuredLabels, targets: np.ndarray, probabilities: np.ndarray) -> tuple[list[str], dict]:
    reject = material.trained.calibration.reject
    assert reject is not None
    kept = measure_rejection(reject, targets, probabilities)
    names = [*material.classes, "all"]
    shown = [*("never" if value >= NEVER else f"{value:.4f}" for value in reject), ""]
    rows = [
        [name, value, as_percent(k.coverage), as_percent(k.error), as_percent(k.miss)]
        for name, value, k in zip(names, shown, kept, strict=True)
    ]
    plain = {name: {"accepted": k.coverage, "error": k.error, "miss": k.miss} for name, k in zip(names, kept, strict=True)}
    blocks = [
        heading("Thresholds of every class"),
        paragraph(
            f"They were {material.origin_of_thresholds()}. Error: of the accepted answers of a class, the wrong ones. "
            "Miss: of its images, those accepted as another class. On a few images a share beyond the limit can be chance."
        ),
        *broken_promise(material),
        *support(material),
        table(["class", "threshold", "accepted", "error", "miss"], rows),
    ]
    return blocks, {"thresholds": dict(zip(material.classes, reject, strict=True)), "kept": plain, "broken": material.broken}


def _hard(material: MeasuredLabels, pictures: Thumbnails, targets: np.ndarray, probabilities: np.ndarray) -> ReportPart:
    found, losses = probabilities.argmax(1), material.prediction.losses.numpy()
    names, best = material.classes, probabilities.max(1)
    wrong = np.flatnonzero(found != targets)
    second, first = torch.from_numpy(probabilities).topk(2, 1).values.flip(1).T.numpy()
    own = probabilities[np.arange(len(targets)), targets]
    lines = [
        [f"{names[f]} {as_percent(b)}", f"is {names[t]} ({as_percent(o)})" if f != t else "right"]
        for f, t, b, o in zip(found, targets, best, own, strict=True)
    ]
    tones: list[Tone] = ["good" if f == t else "bad" for f, t in zip(found, targets, strict=True)]
    groups = [
        ("Most wrong", "Wrong answers, the most confident first.", wrong[np.argsort(-best[wrong], kind="stable")][:HARDEST]),
        ("Least sure", "The two most probable classes are nearly even.", np.argsort(first - second, kind="stable")[:HARDEST]),
        ("Highest loss", "The true class has the lowest probability.", np.argsort(-losses, kind="stable")[:HARDEST]),
    ]
    return hard_images(material, pictures, groups, lines, tones)
