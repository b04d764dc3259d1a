"""Images far smaller than the others, such as thumbnails and icons."""

import numpy as np

from dataloader.checks.findings import Finding, singles
from dataloader.checks.survey import Survey
from utils.text import counted

# A smaller side below this, in pixels, and below this share of the median.
PIXELS, SHARE = 64, 0.25


def find(survey: Survey) -> list[Finding]:
    """Return a warning for outliers; none where all images are small."""
    sides = {number: min(survey.facts[number].width, survey.facts[number].height) for number in survey.readable}
    if not sides:
        return []
    limit = min(PIXELS, SHARE * float(np.median(list(sides.values()))))
    notes = {number: f"{survey.facts[number].width}x{survey.facts[number].height}" for number, side in sides.items() if side < limit}
    if not notes:
        return []
    title = f"{counted(len(notes), 'image is', 'images are')} far smaller than the others"
    advice = "They are blurred when enlarged to the size of the others; replace or remove them."
    return [Finding("warning", title, advice, singles(list(notes), notes))]
