"""Labels that may be wrong: confident learning (Northcutt, Jiang, Chuang, arXiv 1911.00068), by cleanlab."""

import warnings
from collections.abc import Iterable, Sequence

import numpy as np

from applications.report.measured_labels import MeasuredLabels
from applications.report.report_part import ReportPart, Thumbnails, as_percent
from applications.tasks.label_prediction import CHUNK
from utils.files import write_csv
from utils.metrics.statistics import confusion
from utils.page import gallery, paragraph

SHOWN = 24
# Below this accuracy most suggestions are mistakes of the model.
GOOD = 0.8
# cleanlab's own lower limit of a class threshold.
LEAST_USUAL = 2e-6


def suspicious_labels(targets: np.ndarray, probabilities: np.ndarray, *, cells: int = CHUNK) -> np.ndarray:
    """Return the images of one label whose label is probably wrong, the most suspicious first.

    Given the confident joint, cleanlab judges each class by itself, so it gets a few classes at a time: its copies of 50,000 images of
    1,000 classes would take gigabytes.

    Args:
        targets: class indices (N,).
        probabilities: (N, C), of a model that was not trained on the images.
        cells: of the table that are processed at a time.
    """
    from cleanlab.filter import find_label_issues

    present, labels = np.unique(targets, return_inverse=True)
    if len(present) < 2:
        return np.empty(0, dtype=int)

    def shares(rows: np.ndarray) -> np.ndarray:
        # Classes without an image cannot be the label; the others share their probability.
        found = probabilities[rows][:, present].astype(np.float64) + 1e-12
        return found / found.sum(1, keepdims=True)

    parts = _whole_classes(labels, most=max(1, cells // len(present)))
    own = np.empty(len(labels))
    for rows in parts:
        own[rows] = shares(rows)[np.arange(len(rows)), labels[rows]]
    joint = _confident_joint(labels, own, ((rows, shares(rows)) for rows in parts))
    doubtful = np.zeros(len(labels), dtype=bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for rows in parts:
            doubtful[rows] = find_label_issues(labels[rows], shares(rows), confident_joint=joint, n_jobs=1)
    found = np.flatnonzero(doubtful)
    return found[np.argsort(own[found])]


def _whole_classes(labels: np.ndarray, *, most: int) -> list[np.ndarray]:
    """Return the rows of two classes or more at a time, each class whole: about `most` of them where classes are small."""
    order, starts = np.argsort(labels, kind="stable"), np.bincount(labels).cumsum()[:-1]
    parts: list[list[np.ndarray]] = [[]]
    for members in np.split(order, starts):
        if len(parts[-1]) >= 2 and sum(map(len, parts[-1])) + len(members) > most:
            parts.append([])
        parts[-1].append(members)
    if len(parts) > 1 and len(parts[-1]) < 2:
        last = parts.pop()
        parts[-1] += last
    return [np.concatenate(part) for part in parts]


def _confident_joint(labels: np.ndarray, own: np.ndarray, parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return how many images of each label are confidently of each class, (C, C), as `cleanlab.count.compute_confident_joint` does.

    Args:
        labels: class indices (N,), each of which occurs.
        own: probability of the label of each image, (N,).
        parts: rows and their probabilities (n, C), together all images.
    """
    from cleanlab.count import calibrate_confident_joint

    count = int(labels.max()) + 1
    usual = np.clip([own[labels == number].mean() for number in range(count)], LEAST_USUAL, None)
    joint = np.zeros((count, count), dtype=int)
    for rows, shares in parts:
        sure = shares >= usual - 1e-6
        guess = np.where(sure.sum(1) > 1, shares.argmax(1), sure.argmax(1))
        some = sure.any(1)
        joint += confusion(labels[rows][some], guess[some], count)
    np.fill_diagonal(joint, joint.diagonal().clip(min=1))
    return calibrate_confident_joint(joint, labels)


def suspicious_label_sets(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the multi-label images of which a label is probably wrong or missing, the most suspicious first.

    Args:
        truth: bool (N, C).
        probabilities: (N, C), of a model that was not trained on the images.
    """
    from cleanlab.multilabel_classification.filter import find_label_issues

    counts = truth.sum(0)
    # Confident learning compares images with a label to images without it, so both must exist.
    judged = np.flatnonzero((counts > 1) & (counts < len(truth) - 1))
    if len(judged) < 2:
        return np.empty(0, dtype=int)
    truth, probabilities = truth[:, judged], probabilities[:, judged]
    labels = [np.flatnonzero(row).tolist() for row in truth]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranked = find_label_issues(labels, probabilities.astype(np.float64), return_indices_ranked_by="self_confidence", n_jobs=1)
    return np.asarray(ranked, dtype=int)


def label_section(
    material: MeasuredLabels, pictures: Thumbnails, rows: np.ndarray, given: Sequence[str], suggested: Sequence[str]
) -> ReportPart:
    """Return the gallery of probable label issues.

    Args:
        material: the measured model.
        pictures: gives the thumbnails.
        rows: images (K,), the most suspicious first.
        given: label or labels of every image of the split.
        suggested: what the model says instead.
    """
    table = [["image", "given", "suggested"], *([material.file(row), given[row], suggested[row]] for row in rows.tolist())]
    write_csv(material.attachments / "label_issues.csv", table)
    seen = material.split.name == "train"
    note = "The model is confident of another label than the given one, compared to its usual confidence in each class."
    if seen:
        note += " It was trained on these very images, so it agrees with wrong labels more than it should."
    agreeing = sum(label == other for label, other in zip(given, suggested, strict=True)) / max(1, len(given))
    if agreeing < GOOD:
        note += f" It is right for only {as_percent(agreeing, 0)} of the images, so most of these are mistakes of the model."
    blocks = [paragraph(f"The labels of {len(rows)} of {len(given)} images are in doubt. {note}" if len(rows) else "No label looks wrong.")]
    cards = []
    for row in rows[:SHOWN].tolist():
        lines = [f"{given[row] or 'nothing'}, or {suggested[row] or 'nothing'}?", material.file(row)]
        card = pictures.card(int(material.prediction.indices[row]), lines, "warn")
        cards += [card] if card else []
    if len(rows) > len(cards):
        blocks.append(paragraph(f"The first {len(cards)}; figures/label_issues.csv has all.", tone="soft"))
    blocks.append(gallery(cards))
    return ReportPart(sections=[("Labels that may be wrong", blocks)], figures={"label_issues": len(rows)})
