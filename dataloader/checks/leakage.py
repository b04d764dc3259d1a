"""Images that are in two splits: metrics on images that training has seen say nothing about new ones."""

import os

from dataloader.checks.findings import Finding, ImageSet
from dataloader.checks.survey import Survey
from dataloader.splits.split import SPLIT_NAMES
from utils.text import counted


def find(survey: Survey) -> list[Finding]:
    """Return an error for equal files, and a warning for pictures that look the same."""
    findings = []
    if groups := [ImageSet(group, _note(survey, group)) for group in survey.copies if _splits(survey, group)]:
        fixable = tuple(number for group in groups for number in _spare(survey, group.images))
        title = f"leakage: {counted(len(groups), 'picture stands', 'pictures stand')} in two splits, byte for byte"
        advice = (
            "Metrics on these images are too good. Keep each in one split; "
            "--fix keeps the copy in test, else in val, and moves the others away, unless their labels differ."
        )
        findings.append(Finding("error", title, advice, groups, fixable=fixable))
    if groups := [ImageSet(group, _note(survey, group)) for group in survey.lookalikes if _splits(survey, group)]:
        title = f"near leakage: {counted(len(groups), 'picture stands', 'pictures stand')} in two splits in two versions"
        advice = "One picture saved again, scaled, or taken twice in a row. Look at them; put all versions of a picture into one split."
        findings.append(Finding("warning", title, advice, groups))
    return findings


def _splits(survey: Survey, group: tuple[int, ...]) -> list[str]:
    """Return the splits of a group when there are two or more, from train on."""
    held = {survey.picture(number).split for number in group}
    return [name for name in SPLIT_NAMES if name in held] if len(held) > 1 else []


def _note(survey: Survey, group: tuple[int, ...]) -> str:
    return " + ".join(_splits(survey, group))


def _spare(survey: Survey, group: tuple[int, ...]) -> list[int]:
    """Return the images to move away; none where the labels differ, since a person has to say which is right.

    Also none where links lead to one file: moving it would leave nothing behind.
    """
    pictures = [survey.picture(number) for number in group]
    if len({picture.label for picture in pictures}) > 1 or len({os.path.realpath(picture.file) for picture in pictures}) < len(pictures):
        return []
    kept = _splits(survey, group)[-1]
    return [number for number, picture in zip(group, pictures, strict=True) if picture.split != kept]
