"""Lines of a list that cannot be used: missing images, no label, images that are listed twice."""

from dataloader.checks.findings import Finding, Level
from dataloader.checks.survey import Survey
from utils.text import counted

KINDS: dict[str, tuple[Level, str, str, str]] = {
    "missing": ("error", "line names no image that is there", "lines name no image that is there", "Fix the paths, or remove the lines."),
    "label": ("error", "line has no label", "lines have no label", "Give each image one, or call the column 'labels'."),
    "split": ("error", "line names no split", "lines name no split", "Write train, val or test."),
    "contradiction": (
        "error",
        "image is listed again with other values",
        "images are listed again with other values",
        "Keep the line that is right.",
    ),
    "box": ("error", "line gives no box", "lines give no box", "Training stops there; mend the lines, or remove them."),
    "double": ("warning", "line is there twice", "lines are there twice", "Each image counts once; remove the second line."),
}


def find(survey: Survey) -> list[Finding]:
    """Return the lines that are not used, each by its file and number: an error, or a warning for exact repetitions."""
    findings = []
    for kind, (level, one, many, advice) in KINDS.items():
        lines = [fault.message for fault in survey.catalog.faults if fault.kind == kind]
        if lines:
            title, rows = counted(len(lines), one, many), [[line] for line in lines]
            findings.append(Finding(level, title, advice, header=["line"], rows=rows, lines=lines))
    return findings
