"""Images that have two labels: one of them is wrong."""

from collections.abc import Sequence

from dataloader.checks.findings import Finding, ImageSet, Level
from dataloader.checks.survey import Survey
from utils.text import counted


def find(survey: Survey) -> list[Finding]:
    """Return an error for equal files, and a warning for pictures that look the same."""
    findings = []
    kinds: tuple[tuple[Level, Sequence[tuple[int, ...]], str], ...] = (
        ("error", survey.copies, "byte for byte"),
        ("warning", survey.lookalikes, "in two versions"),
    )
    for level, groups, what in kinds:
        found = [ImageSet(group, " or ".join(labels)) for group in groups if len(labels := _labels(survey, group)) > 1]
        if found:
            title = f"label conflict: {counted(len(found), 'picture stands', 'pictures stand')} under two labels, {what}"
            advice = "Decide which label is right, and remove the other copy. --fix leaves them alone: it cannot know."
            findings.append(Finding(level, title, advice, found))
    return findings


def _labels(survey: Survey, group: tuple[int, ...]) -> list[str]:
    return sorted({survey.picture(number).label or "(no label)" for number in group})
