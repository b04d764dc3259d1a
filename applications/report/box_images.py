"""The images of a report on boxes: the worst, with truth and answers, and cut-outs of what is missed, made up, or framed loosely."""

from collections.abc import Sequence

import numpy as np

from applications.report.measured_boxes import MeasuredBoxes
from applications.report.report_part import ReportPart
from utils.drawing.box_pictures import cut_out, framed
from utils.drawing.images import data_uri, enlarged, thumbnail
from utils.drawing.mask_pictures import beside_one_another
from utils.files import write_csv
from utils.metrics.average_precision import by_class
from utils.metrics.box_errors import KINDS, MEANINGS, MISS, BoxErrors
from utils.page import Card, gallery, heading, paragraph

WORST, SIDE = 12, 420
# Cut-outs of each kind, and how much of the surroundings they show.
CUT_OUTS, CUT_SIDE, MARGIN = 12, 150, 0.4
RIGHT, WRONG, LOST, TRUE, CROWD = (40, 150, 70), (205, 40, 40), (230, 140, 0), (40, 90, 200), (130, 130, 130)


def images_part(material: MeasuredBoxes) -> ReportPart:
    """Return the images with the most mistakes, beside their truth; a table has all images."""
    errors = material.errors_at_confidence
    counts = mistakes_by_image(errors, len(material.meter.positions))
    total = counts["wrong"] + counts["missed"]
    f1 = 2 * counts["found"] / np.maximum(2 * counts["found"] + total, 1)
    order = sorted(range(len(total)), key=lambda number: (f1[number] if total[number] else 2.0, -total[number]))
    lines = [
        [material.split.paths[material.meter.positions[number]], f"{f1[number]:.4f}", *(str(counts[name][number]) for name in counts)]
        for number in order
    ]
    write_csv(material.attachments / "images.csv", [["image", "F1", *counts], *lines])
    chosen = [number for number in order if total[number]][:WORST]
    cards = [
        Card(
            data_uri(_drawn(material, errors, number)),
            [_said(counts, number), material.split.paths[material.meter.positions[number]]],
            "bad",
        )
        for number in chosen
    ]
    note = (
        "Left the truth: blue is found, orange missed, gray counts for nothing. Right the answers of "
        f"{material.task.confidence:.3f} or more: green finds an object, red does not. All images are in figures/images.csv."
    )
    blocks = [paragraph(note, tone="soft"), gallery(cards, wide=True)] if cards else [paragraph("There is no mistake.")]
    return ReportPart(sections=[("The worst images", blocks)], style=".gallery.wide { grid-template-columns: 1fr; }")


def mistakes_by_image(errors: BoxErrors, images: int) -> dict[str, np.ndarray]:
    """Return how many objects of each image are found and missed, and how many answers are wrong, int64 (images,) each."""
    matches = errors.matches
    hits = matches.hits[0, 0]
    found = np.bincount(matches.answers.images[hits], minlength=images)
    real = np.bincount(matches.truths.images[~matches.truths.crowd], minlength=images)
    return {"found": found, "missed": real - found, "wrong": np.bincount(matches.answers.images[errors.kinds >= 0], minlength=images)}


def _said(counts: dict[str, np.ndarray], number: int) -> str:
    found, missed, wrong = (int(counts[name][number]) for name in ("found", "missed", "wrong"))
    return f"{found} found, {missed} missed, {wrong} wrong"


def _drawn(material: MeasuredBoxes, errors: BoxErrors, number: int) -> np.ndarray:
    """Return the truth and the answers of an image, side by side, uint8 (H, W, 3)."""
    image = material.split.read(material.meter.positions[number])
    matches = errors.matches
    found = np.zeros(len(matches.truths.classes), bool)
    found[matches.found[0][matches.hits[0, 0]]] = True
    true, own = np.flatnonzero(matches.truths.images == number), np.flatnonzero(matches.answers.images == number)
    own = own[np.argsort(-matches.answers.scores[own], kind="stable")]
    # Frames of what matters are as visible on a large image as on a small one.
    small = thumbnail(enlarged(image, SIDE), SIDE)
    scale = np.array([small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]] * 2)
    truths, answers = matches.truths, matches.answers
    colors = [CROWD if truths.crowd[row] else TRUE if found[row] else LOST for row in true]
    left = framed(small, truths.corners[true] * scale, colors, [material.classes[row] for row in truths.classes[true]])
    colors = [CROWD if matches.ignored[0, 0, row] else RIGHT if matches.hits[0, 0, row] else WRONG for row in own]
    texts = [f"{material.classes[answers.classes[row]]} {answers.scores[row]:.2f}" for row in own]
    return beside_one_another([left, framed(small, answers.corners[own] * scale, colors, texts)])


def mistakes_part(material: MeasuredBoxes) -> ReportPart:
    """Return cut-outs of each kind of mistake, the surest first, and of missed objects, the largest first."""
    errors = material.errors_at_confidence
    matches = errors.matches
    truths, answers = matches.truths, matches.answers
    blocks, rows = [], [["kind", "image", "class", "score", "left", "top", "right", "bottom"]]
    for name, meaning in MEANINGS.items():
        if name == MISS:
            members = np.flatnonzero(errors.missed)
            members = _in_turn(members[np.argsort(-truths.areas[members], kind="stable")], truths.classes, len(material.classes))
            boxes, named, images = truths.corners, truths.classes, truths.images
        else:
            members = np.flatnonzero(errors.kinds == KINDS.index(name))
            members = members[np.argsort(-answers.scores[members], kind="stable")]
            boxes, named, images = answers.corners, answers.classes, answers.images
        cards = []
        for place, row in enumerate(members.tolist()):
            file, label = material.split.paths[material.meter.positions[images[row]]], material.classes[named[row]]
            score = "" if name == MISS else f"{answers.scores[row]:.3f}"
            rows.append([name, file, label, score, *(f"{value:.1f}" for value in boxes[row].tolist())])
            if place < CUT_OUTS:
                lines = [f"{label} {score}".strip(), *_meant(material, errors, name, row), file]
                cards.append(Card(data_uri(_cut(material, errors, name, row)), lines, "bad"))
        if cards:
            more = f" {len(members)} in all." if len(members) > len(cards) else ""
            blocks += [heading(f"{name}: {meaning}"), paragraph(f"{_order(name)}{more}", tone="soft"), gallery(cards)]
    write_csv(material.attachments / "mistakes.csv", rows)
    return ReportPart(sections=[("Mistakes, cut out", blocks or [paragraph("There is none.")])])


def _order(name: str) -> str:
    return (
        "The largest of each class in turn; the object is framed orange."
        if name == MISS
        else "The surest first: red is answered, blue is true."
    )


def _meant(material: MeasuredBoxes, errors: BoxErrors, name: str, row: int) -> list[str]:
    if name == "Cls":
        return [f"is a {material.classes[errors.matches.truths.classes[errors.meant[row]]]}"]
    return []


def _in_turn(members: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
    """Return rows with those of each class in turn, each class in its own order."""
    order = np.argsort(classes[members], kind="stable")
    places = np.empty(len(members), np.int64)
    for own in by_class(classes[members][order], count):
        places[order[own]] = np.arange(own.stop - own.start)
    return members[np.argsort(places, kind="stable")]


def _cut(material: MeasuredBoxes, errors: BoxErrors, name: str, row: int) -> np.ndarray:
    """Return the surroundings of a mistake with its frames, uint8 (H, W, 3)."""
    truths, answers = errors.matches.truths, errors.matches.answers
    number = int(truths.images[row] if name == MISS else answers.images[row])
    box = truths.corners[row] if name == MISS else answers.corners[row]
    shown: list[np.ndarray] = [box]
    colors: list[Sequence[int]] = [LOST if name == MISS else WRONG]
    if name != MISS and errors.meant[row] >= 0:
        shown.append(truths.corners[errors.meant[row]])
        colors.append(TRUE)
    around = np.concatenate([np.min(shown, 0)[:2], np.max(shown, 0)[2:]])
    image = material.split.read(material.meter.positions[number])
    part = cut_out(image, around, margin=MARGIN)
    more = MARGIN * (around[2:] - around[:2])
    start = np.floor(np.maximum(around[:2] - more, 0))
    large = thumbnail(enlarged(part, CUT_SIDE), CUT_SIDE)
    scale = np.array([large.shape[1] / part.shape[1], large.shape[0] / part.shape[0]] * 2)
    return framed(large, (np.stack(shown) - np.tile(start, 2)) * scale, colors)
