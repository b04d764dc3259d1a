"""Boxes: without area, outside the image, doubled, too small for the network, files without their other half, and classes."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from dataloader.checks.findings import Finding, Level, singles
from dataloader.checks.survey import Survey
from dataloader.images.preprocess import fit_change
from dataloader.images.read import ImageError
from dataloader.sources.box_table import BoxRows, BoxTable
from dataloader.splits.catalog import name_some
from dataloader.targets.boxes import areas
from utils.metrics.box_overlap import overlap_of
from utils.text import counted

# Two boxes of a class that overlap by more are one object, written twice.
DOUBLED = 0.95
# Pixels of the smaller side, as the network sees it, below which hardly anything can be recognized.
TINY = 4.0
# Pixels by which a box may leave the image by rounding.
OUTSIDE = 1.0
# COCO's figures take so many answers of an image.
MOST = 100
FEW = 20


class ImageBoxes(NamedTuple):
    """The boxes of one image: as its file gives them, in pixels, with (H, W) of the image, the file, and what its numbers count."""

    rows: BoxRows
    size: tuple[int, int]
    file: str
    unit: str

    def lines(self, chosen: np.ndarray) -> str:
        """Return 'labels/a.txt, lines 3, 5' for those that are chosen, bool (K,)."""
        numbers = self.rows.lines[chosen].tolist()
        return f"{self.file}, {self.unit}{'s' if numbers[1:] else ''} {name_some([str(number) for number in numbers], 5)}"


def find(survey: Survey) -> list[Finding]:
    """Return what is wrong with the boxes of a data set; nothing for data without boxes."""
    tables = [split.truths for split in survey.catalog.splits.values() if isinstance(split.truths, BoxTable)]
    if not tables:
        return []
    known = {}
    for number in survey.readable:
        picture = survey.picture(number)
        table = survey.catalog.splits[picture.split].truths
        assert isinstance(table, BoxTable)
        try:
            known[number] = ImageBoxes(*table.raw(picture.path), table.files.get(picture.path, picture.path), table.unit)
        except ImageError:
            # Reported by the check of unreadable images.
            continue
    return [*_files(survey, tables[0]), *_sizes(survey, known), *_boxes(survey, known), *_crowded(known), *_shares(survey, known)]


def _files(survey: Survey, table: BoxTable) -> list[Finding]:
    """Return images without a file of boxes, and files without an image."""
    findings = []
    if lost := [path for path in table.unlabeled if path not in table.places]:
        title = f"{counted(len(lost), 'image has', 'images have')} no file of boxes"
        advice = "Training stops there. Add empty files where nothing is to be found, or give --missing_is_empty."
        findings.append(Finding("error", title, advice, lines=[str(survey.catalog.root / path) for path in lost]))
    if table.alone:
        title = f"{counted(len(table.alone), 'file of boxes has', 'files of boxes have')} no image"
        advice = "The pictures are gone, or called otherwise; bring them back, or remove the files."
        findings.append(Finding("warning", title, advice, lines=[str(table.root / name) for name in table.alone]))
    return findings


def _sizes(survey: Survey, known: Mapping[int, ImageBoxes]) -> list[Finding]:
    """Return images of another size than the list of boxes says."""
    wrong = {}
    for number, each in known.items():
        facts = survey.facts[number]
        if each.size != (facts.height, facts.width):
            wrong[number] = f"{each.file}: {each.size[1]}x{each.size[0]}, image {facts.width}x{facts.height}"
    if not wrong:
        return []
    title = f"{counted(len(wrong), 'image has', 'images have')} another size than the boxes are for"
    advice = "Training stops there. Write the true sizes, and look whether an image is turned by its EXIF or was resized."
    return [Finding("error", title, advice, singles(list(wrong), wrong))]


def _boxes(survey: Survey, known: Mapping[int, ImageBoxes]) -> list[Finding]:
    """Return single boxes that are wrong, image by image."""
    smallest = f"{survey.image_size[1]}x{survey.image_size[0]}"
    rules: list[tuple[Callable[[ImageBoxes], np.ndarray], str, str, Level, str]] = [
        (_flat, "box has no area", "boxes have no area", "warning", "They are not used; remove the lines."),
        (
            _outside,
            "box leaves its image",
            "boxes leave their images",
            "warning",
            "They are clipped. Look at them with --visual_data: they may belong to another image, or to another size of it.",
        ),
        (
            _doubled,
            "box is there twice",
            "boxes are there twice",
            "warning",
            "An object that is counted twice is missed once; remove one of the two.",
        ),
        (
            lambda each: _tiny(each, survey.image_size),
            f"box has a side below {TINY:g} pixels at {smallest}",
            f"boxes have a side below {TINY:g} pixels at {smallest}",
            "warning",
            "The network can hardly see them; try a larger --image_size.",
        ),
    ]
    findings = []
    for rule, one, many, level, advice in rules:
        chosen = {number: rule(each) for number, each in known.items()}
        notes = {number: known[number].lines(which) for number, which in chosen.items() if which.any()}
        if notes:
            total = sum(int(which.sum()) for which in chosen.values())
            title = f"{counted(total, one, many)}, on {counted(len(notes), 'image')}"
            findings.append(Finding(level, title, advice, singles(list(notes), notes), figures={"boxes": total}))
    return findings


def _flat(each: ImageBoxes) -> np.ndarray:
    return ~(areas(each.rows.corners) > 0)


def _outside(each: ImageBoxes) -> np.ndarray:
    (height, width), corners = each.size, each.rows.corners
    beyond = np.maximum(-corners[:, :2].min(1), (corners[:, 2:] - [width, height]).max(1))
    return (beyond > OUTSIDE) & ~_flat(each)


def _doubled(each: ImageBoxes) -> np.ndarray:
    """Return which boxes repeat an earlier one of their class, bool (K,)."""
    rows = each.rows
    order = np.argsort(rows.corners[:, 0], kind="stable")
    corners, classes = rows.corners[order], rows.classes[order]
    # Boxes that overlap so much begin nearly at the same place: of thousands, only neighbors are compared.
    reach = (1 / DOUBLED - 1) * 1.1 * (corners[:, 2] - corners[:, 0]).clip(0)
    starts = corners[:, 0]
    first, last = np.searchsorted(starts, starts - reach, side="left"), np.searchsorted(starts, starts + reach, side="right")
    counts = last - first
    one = np.repeat(np.arange(len(order)), counts)
    other = np.arange(len(one)) - np.repeat(counts.cumsum() - counts, counts) + np.repeat(first, counts)
    later = (order[one] > order[other]) & (classes[one] == classes[other])
    one, other = one[later], other[later]
    found = np.zeros(len(order), bool)
    found[order[one[overlap_of(corners[one], corners[other], np.zeros(len(one), bool)) > DOUBLED]]] = True
    return found


def _tiny(each: ImageBoxes, image_size: tuple[int, int]) -> np.ndarray:
    change = fit_change(each.size, image_size, "fit")
    sides = (each.rows.corners[:, 2:] - each.rows.corners[:, :2]) * [change.rows[0][0], change.rows[1][1]]
    return (sides.min(1) < TINY) & ~_flat(each)


def _crowded(known: Mapping[int, ImageBoxes]) -> list[Finding]:
    counts = {number: len(each.rows.classes) for number, each in known.items()}
    many = {number: counted(count, "box", "boxes") for number, count in counts.items() if count > MOST}
    if not many:
        return []
    title = f"{counted(len(many), 'image holds', 'images hold')} more than {MOST} boxes, up to {max(counts.values()):,}"
    advice = f"COCO's figures take the {MOST} surest answers of an image: the others count as missed. Cut such images into tiles."
    return [Finding("warning", title, advice, singles(list(many), many))]


def _shares(survey: Survey, known: Mapping[int, ImageBoxes]) -> list[Finding]:
    """Return the boxes of every class in every split, with warnings for those that are missing or few."""
    classes, splits = survey.catalog.classes, list(survey.catalog.splits)
    boxes, images, empty = {}, {}, {}
    for name in splits:
        own = [known[number].rows for number in survey.numbers(name) if number in known]
        counts = np.array([np.bincount(rows.classes[~rows.crowd], minlength=len(classes)) for rows in own], np.int64).reshape(
            -1, len(classes)
        )
        boxes[name], images[name], empty[name] = counts.sum(0), (counts > 0).sum(0), int((counts.sum(1) == 0).sum())
    first = "train" if "train" in splits else splits[0]
    total = max(1, int(boxes[first].sum()))
    order = np.argsort(-boxes[first], kind="stable").tolist()
    rows = [
        [classes[each], *(f"{boxes[name][each]:,} on {counted(int(images[name][each]), 'image')}" for name in splits)] for each in order
    ]
    nothing = sum(empty.values())
    title = (
        f"{classes[order[0]]} has {boxes[first][order[0]] / total:.1%} of the {total:,} {first} boxes, {classes[order[-1]]} "
        f"{boxes[first][order[-1]] / total:.1%}; {counted(nothing, 'image has', 'images have')} none"
    )
    figures = {"boxes": {name: each.tolist() for name, each in boxes.items()}, "without": empty}
    bars = {classes[each]: float(boxes[first][each] / total) for each in order}
    advice = "Look at the AP of every class, which counts each alike."
    findings = [Finding("info", title, advice, header=["class", *splits], rows=rows, bars=bars, figures=figures)]
    for name in splits:
        if missing := [label for label, count in zip(classes, boxes[name], strict=True) if not count]:
            title = f"{name}: no box is {name_some(missing)}"
            findings.append(Finding("warning", title, "The class is neither learned nor measured there; split otherwise, or leave it out."))
    if few := [classes[each] for each in order if 0 < boxes[first][each] < FEW]:
        title = f"{counted(len(few), 'class has', 'classes have')} fewer than {FEW} {first} boxes: {name_some(few, 5)}"
        findings.append(Finding("warning", title, "Collect more of them, or join them with another class."))
    return findings
