"""Kinds of pixels that are converted when read, and the effect on the image."""

from collections.abc import Callable

from dataloader.checks.examine import FileFacts
from dataloader.checks.findings import Finding, Level, singles
from dataloader.checks.survey import Survey
from utils.text import counted

KINDS: tuple[tuple[Callable[[FileFacts], bool], Level, str, str, str], ...] = (
    (lambda facts: facts.animated, "warning", "animation", "animations or files of several pages", "Only the first frame is used."),
    (
        lambda facts: facts.mode == "CMYK",
        "warning",
        "CMYK image",
        "CMYK images",
        "Colors are converted without a profile, and may look off.",
    ),
    (
        lambda facts: facts.mode in ("RGBA", "LA", "PA", "RGBa", "La"),
        "info",
        "image with transparency",
        "images with transparency",
        "They are blended with white.",
    ),
    (
        lambda facts: facts.mode.startswith("I"),
        "info",
        "16-bit image",
        "16-bit images",
        "Training scales them to 8 bits, by the range that all of them use.",
    ),
    (lambda facts: facts.mode == "P", "info", "image with a palette", "images with a palette", "They are converted to RGB."),
    (
        lambda facts: facts.turned,
        "info",
        "image turned by EXIF",
        "images turned by EXIF",
        "The orientation is applied here; other programs may show or read them turned.",
    ),
)
GRAY = ("L", "1", "LA", "I", "I;16")


def find(survey: Survey) -> list[Finding]:
    """Return a finding for every kind, and one for gray images among colored ones."""
    findings = []
    for belongs, level, one, many, advice in KINDS:
        numbers = [number for number in survey.readable if belongs(survey.facts[number])]
        if numbers:
            notes = {number: f"{survey.facts[number].form} {survey.facts[number].mode}".strip() for number in numbers}
            findings.append(Finding(level, counted(len(numbers), one, many), advice, singles(numbers, notes)))
    gray = [number for number in survey.readable if survey.facts[number].mode in GRAY]
    if gray and len(gray) < len(survey.readable):
        title = f"{counted(len(gray), 'gray image')} among {len(survey.readable) - len(gray):,} colored ones"
        advice = "Gray is copied into all three channels. Make sure that being gray does not reveal the class."
        findings.append(Finding("info", title, advice, singles(gray)))
    return findings
