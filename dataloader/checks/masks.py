"""Masks: sizes, ids without a name, classes that no pixel has, the share of every class, and whether outlines lie on edges of the image."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from dataloader.checks.examine import glimpse
from dataloader.checks.findings import Finding, ImageSet, singles
from dataloader.checks.survey import Survey
from dataloader.images.read import ImageError
from dataloader.splits.catalog import name_some
from dataloader.splits.split import Split
from dataloader.targets.mask import IGNORE, Mask
from utils.cores import default_workers
from utils.errors import UserError
from utils.metrics.boundaries import outline
from utils.text import counted

# Side at which edges and outlines are compared.
SIDE = 256
# Outlines of true masks lie on edges this many times stronger than elsewhere, by the median; one below 1 lies on none.
USUAL, NONE = 1.25, 1.0
# Fewer pixels on outlines say nothing.
LEAST_OUTLINE = 30
RARE = 0.005


class MaskFacts(NamedTuple):
    """What one mask says.

    Attributes:
        problem: why it cannot be used; '' if it can.
        unnamed: whether that is a number or a color without a name.
        size: (H, W).
        pixels: of every class, int64 (C,).
        unknown: share of the pixels that are ignored.
        edges: how much stronger the image changes on the outlines than elsewhere; nan where that says nothing.
        mirrored: the same with the mask mirrored.
    """

    problem: str = ""
    unnamed: bool = False
    size: tuple[int, int] = (0, 0)
    pixels: np.ndarray = np.zeros(0, np.int64)
    unknown: float = 0.0
    edges: float = float("nan")
    mirrored: float = float("nan")


def find(survey: Survey) -> list[Finding]:
    """Return what is wrong with the masks of a data set; nothing for data without masks."""
    splits = survey.catalog.splits
    if not any(split.truths is not None and isinstance(split.nothing(), Mask) for split in splits.values()):
        return []
    places = [(split, index) for split in splits.values() for index in range(len(split))]
    with ThreadPoolExecutor(max(1, default_workers())) as pool:
        found = list(pool.map(lambda place: examine_mask(place[0], place[1], len(survey.catalog.classes)), places))
    facts = dict(enumerate(found))
    return [*_broken(survey, facts), *_sizes(survey, facts), *_unlabeled(facts), *_shares(survey, facts), *_misplaced(facts)]


def examine_mask(split: Split, index: int, classes: int) -> MaskFacts:
    """Return the facts about the mask of an image; problems are facts, too, and never raise."""
    try:
        mask = split.target(index)
    except ImageError as error:
        return MaskFacts(f"{error.path}: {error.reason}")
    except (UserError, ValueError) as error:
        return MaskFacts(str(error), unnamed=True)
    assert isinstance(mask, Mask)
    counts = np.bincount(mask.ids.ravel(), minlength=IGNORE + 1)
    height, width = mask.image_size()
    known = MaskFacts("", False, (height, width), counts[:classes], float(counts[IGNORE] / mask.ids.size))
    try:
        image = np.asarray(glimpse(split.file(index), SIDE).convert("L"))
    except ImageError:
        # Reported by the check of unreadable images.
        return known
    own, other = (edge_ratio(image, ids) for ids in (mask.ids, mask.ids[:, ::-1]))
    return known._replace(edges=own, mirrored=other)


def edge_ratio(image: np.ndarray, ids: np.ndarray) -> float:
    """Return how many times as strongly an image changes on the outlines of a mask as on average; nan where there are hardly any.

    Args:
        image: gray, uint8 (h, w).
        ids: classes, integers (H, W), of any size; stretched over the image.
    """
    import cv2

    gray = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.0)
    strength = np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
    rows = np.arange(image.shape[0]) * ids.shape[0] // image.shape[0]
    columns = np.arange(image.shape[1]) * ids.shape[1] // image.shape[1]
    small = ids[rows[:, None], columns[None, :]]
    edge = outline(small, small != IGNORE)
    mean = float(strength.mean())
    return float(strength[edge].mean() / mean) if edge.sum() >= LEAST_OUTLINE and mean > 0 else float("nan")


def _broken(survey: Survey, facts: Mapping[int, MaskFacts]) -> list[Finding]:
    findings = []
    unnamed = {number: each.problem for number, each in facts.items() if each.unnamed}
    if unnamed:
        title = f"{counted(len(unnamed), 'mask holds', 'masks hold')} what has no name among the {len(survey.catalog.classes)} classes"
        advice = "Training stops there. Add it to labels.csv, or leave it out with --ignore."
        findings.append(Finding("error", title, advice, singles(list(unnamed), unnamed)))
    broken = {number: each.problem for number, each in facts.items() if each.problem and not each.unnamed}
    if broken:
        title = f"{counted(len(broken), 'mask cannot', 'masks cannot')} be read"
        findings.append(Finding("error", title, "Write them again, or remove their images.", singles(list(broken), broken)))
    return findings


def _sizes(survey: Survey, facts: Mapping[int, MaskFacts]) -> list[Finding]:
    wrong = {}
    for number in survey.readable:
        mask, image = facts[number], survey.facts[number]
        if not mask.problem and mask.size != (image.height, image.width):
            wrong[number] = f"mask {mask.size[1]}x{mask.size[0]}, image {image.width}x{image.height}"
    if not wrong:
        return []
    title = f"{counted(len(wrong), 'mask has', 'masks have')} another size than the image"
    advice = (
        "Training stops there. Write them at the size of their images, by nearest neighbor; look whether an image is turned by its EXIF."
    )
    return [Finding("error", title, advice, singles(list(wrong), wrong))]


def _unlabeled(facts: Mapping[int, MaskFacts]) -> list[Finding]:
    bare = [number for number, each in facts.items() if not each.problem and not each.pixels.any()]
    if not bare:
        return []
    title = f"{counted(len(bare), 'mask is', 'masks are')} ignored throughout"
    return [Finding("warning", title, "Nothing is learned or measured there; remove these images, or label them.", singles(bare))]


def _shares(survey: Survey, facts: Mapping[int, MaskFacts]) -> list[Finding]:
    """Return the share of every class in every split, with warnings for those that train lacks, or hardly has."""
    classes, splits = survey.catalog.classes, list(survey.catalog.splits)
    pixels, images = {}, {}
    for name in splits:
        own = [facts[number].pixels for number in survey.numbers(name) if not facts[number].problem]
        table = np.array(own, np.int64).reshape(-1, len(classes))
        pixels[name], images[name] = table.sum(0), (table > 0).sum(0)
    shares = {name: counts / max(1, int(counts.sum())) for name, counts in pixels.items()}
    first = "train" if "train" in shares else splits[0]
    order = np.argsort(-shares[first], kind="stable").tolist()
    rows = [[classes[each], *(f"{shares[name][each]:.3%} in {images[name][each]}" for name in splits)] for each in order]
    unknown = float(np.mean([each.unknown for each in facts.values() if not each.problem] or [0.0]))
    largest, least = order[0], order[-1]
    title = (
        f"{classes[largest]} covers {shares[first][largest]:.1%} of the {first} pixels, {classes[least]} {shares[first][least]:.2%}; "
        f"{unknown:.1%} of all pixels are ignored"
    )
    bars = {classes[each]: float(shares[first][each]) for each in order}
    figures = {"pixels": {name: counts.tolist() for name, counts in pixels.items()}, "ignored": unknown}
    advice = "Look at the IoU of every class: rare ones hardly show in the pixel accuracy."
    findings = [Finding("info", title, advice, header=["class", *splits], rows=rows, bars=bars, figures=figures)]
    for name in splits:
        if empty := [label for label, count in zip(classes, pixels[name], strict=True) if not count]:
            title = f"{name}: no pixel is {name_some(empty)}"
            findings.append(Finding("warning", title, "The class is neither learned nor measured there; split otherwise, or leave it out."))
    rare = [classes[each] for each in order if 0 < shares[first][each] < RARE]
    if rare:
        title = f"{counted(len(rare), 'class covers', 'classes cover')} less than {RARE:.1%} of the {first} pixels: {name_some(rare, 5)}"
        findings.append(Finding("warning", title, "Training with softmax|dice, the default, or with --crop sees more of them."))
    return findings


def _misplaced(facts: Mapping[int, MaskFacts]) -> list[Finding]:
    """Return warnings for masks whose outlines do not lie on edges of their images."""
    told = {number: each for number, each in facts.items() if np.isfinite(each.edges) and np.isfinite(each.mirrored)}
    if len(told) < 3:
        return []
    own, mirrored = (np.array(values) for values in zip(*((each.edges, each.mirrored) for each in told.values()), strict=True))
    if np.median(mirrored) > np.median(own) * 1.1 and (mirrored > own).mean() > 0.75:
        title = f"masks look mirrored: {(mirrored > own).mean():.0%} of them fit their images better when turned round"
        return [Finding("warning", title, "Look at them with --visual_data; mirror the masks, or the images.", singles(list(told)[:24]))]
    if np.median(own) < USUAL:
        return []
    odd = [ImageSet((number,), f"edges {each.edges:.2f} times the average") for number, each in told.items() if each.edges < NONE]
    if not odd:
        return []
    title = f"the outlines of {counted(len(odd), 'mask lies', 'masks lie')} on no edges of the image, where others do"
    return [Finding("warning", title, "They may belong to another image, or be shifted. Look at them with --visual_data.", odd)]
