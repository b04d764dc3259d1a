"""Images that occur more than once in one split, under one label."""

from collections.abc import Sequence

from dataloader.checks.findings import Finding, ImageSet
from dataloader.checks.survey import Survey
from utils.text import counted


def find(survey: Survey) -> list[Finding]:
    """Return a warning for equal files, and an info for pictures that look the same."""
    findings = []
    if groups := _within(survey, survey.copies):
        title = f"{counted(len(groups), 'picture stands', 'pictures stand')} more than once in a split, byte for byte"
        advice = "An image that occurs twice counts twice. Remove the copies, unless they are intended."
        findings.append(Finding("warning", title, advice, groups))
    if groups := _within(survey, survey.lookalikes):
        title = f"{counted(len(groups), 'picture stands', 'pictures stand')} more than once in a split, in different versions"
        advice = "Harmless within one split, but a new split could separate them."
        findings.append(Finding("info", title, advice, groups))
    return findings


def _within(survey: Survey, groups: Sequence[tuple[int, ...]]) -> list[ImageSet]:
    found = []
    for group in groups:
        pictures = [survey.picture(number) for number in group]
        if len({picture.split for picture in pictures}) == len({picture.label for picture in pictures}) == 1:
            found.append(ImageSet(group, f"{pictures[0].split}: {pictures[0].label}"))
    return found
