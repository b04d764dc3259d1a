"""Labels that may be wrong: confident learning (Northcutt, Jiang, Chuang, arXiv 1911.00068), by cleanlab."""

import warnings
from collections.abc import Sequence

import numpy as np

from applications.report.material import ReportInput, ReportPart, Thumbnails
from utils.files import write_csv
from utils.page import gallery, paragraph

SHOWN = 24
# A model below this share of right answers doubts too much.
GOOD = 0.8


def suspects(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the images of one label whose label is probably wrong, the most suspicious first.

    Args:
        targets: class indices (N,).
        probabilities: (N, C), of a model that was not trained on the images.
    """
    from cleanlab.filter import find_label_issues

    present = np.unique(targets)
    if len(present) < 2:
        return np.empty(0, dtype=int)
    # Classes without an image cannot be the label; the others share their probability.
    shares = probabilities[:, present].astype(np.float64) + 1e-12
    shares /= shares.sum(1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(
            find_label_issues(np.searchsorted(present, targets), shares, return_indices_ranked_by="self_confidence", n_jobs=1), dtype=int
        )


def several_suspects(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the images of several labels of which a label is probably wrong or missing, the most suspicious first.

    Args:
        truth: bool (N, C).
        probabilities: (N, C), of a model that was not trained on the images.
    """
    from cleanlab.multilabel_classification.filter import find_label_issues

    counts = truth.sum(0)
    # Confident learning compares images with a label to those without; of other labels there is nothing to learn.
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
    material: ReportInput, pictures: Thumbnails, rows: np.ndarray, given: Sequence[str], suggested: Sequence[str]
) -> ReportPart:
    """Return the gallery of suspects.

    Args:
        material: the measured model.
        pictures: gives the thumbnails.
        rows: suspects (K,), the most suspicious first.
        given: label or labels of every image of the split, as they are.
        suggested: what the model says instead.
    """
    table = [["image", "given", "suggested"], *([material.file(row), given[row], suggested[row]] for row in rows.tolist())]
    write_csv(material.figures / "label_issues.csv", table)
    seen = material.split.name == "train"
    note = "The model is sure of another label than the given one, measured against how sure it usually is of each class."
    if seen:
        note += " It was trained on these very images, so it agrees with wrong labels more than it should."
    agreeing = sum(label == other for label, other in zip(given, suggested, strict=True)) / max(1, len(given))
    if agreeing < GOOD:
        note += f" It is right for only {agreeing:.0%} of the images, so most of these doubts are mistakes of its own."
    blocks = [paragraph(f"The labels of {len(rows)} of {len(given)} images are in doubt. {note}" if len(rows) else "No label is in doubt.")]
    cards = []
    for row in rows[:SHOWN].tolist():
        lines = [f"{given[row] or 'nothing'}, or {suggested[row] or 'nothing'}?", material.file(row)]
        card = pictures.card(int(material.prediction.indices[row]), lines, "warn")
        cards += [card] if card else []
    if len(rows) > len(cards):
        blocks.append(paragraph(f"The first {len(cards)}; figures/label_issues.csv has all.", tone="soft"))
    blocks.append(gallery(cards))
    return ReportPart(sections=[("Labels that may be wrong", blocks)], figures={"label_issues": len(rows)})
