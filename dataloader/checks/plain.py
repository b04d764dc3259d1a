"""Images of a single color: lens caps, failed downloads, blank scans."""

from dataloader.checks.findings import Finding, singles
from dataloader.checks.survey import Survey
from utils.text import counted

# Standard deviation of the richest channel, of values in 0..1.
SPREAD = 1.5 / 255


def find(survey: Survey) -> list[Finding]:
    """Return a warning for images in which no channel varies."""
    numbers = [number for number in survey.readable if survey.facts[number].spread < SPREAD]
    if not numbers:
        return []
    title = f"{counted(len(numbers), 'image is', 'images are')} of a single color"
    return [Finding("warning", title, "There is nothing to learn from them; remove them unless they are intended.", singles(numbers))]
