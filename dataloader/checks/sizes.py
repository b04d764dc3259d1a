"""Sizes and aspect ratios, and what they mean for --image_size and --resize."""

import numpy as np

from dataloader.checks.findings import Finding, singles
from dataloader.checks.survey import Survey
from utils.text import counted

EXTREME = 4.0
EDGES = (0.0, 0.4, 0.7, 0.95, 1.05, 1.43, 2.5, float("inf"))
NAMES = (
    "below 0.4, very tall",
    "0.4 to 0.7, tall",
    "0.7 to 0.95, upright",
    "square",
    "1.05 to 1.43",
    "1.43 to 2.5, wide",
    "above 2.5, very wide",
)


def find(survey: Survey) -> list[Finding]:
    """Return the distribution, and a warning for images that are long strips."""
    numbers = survey.readable
    if not numbers:
        return []
    sizes = np.array([(survey.facts[number].width, survey.facts[number].height) for number in numbers], dtype=np.float64)
    aspects = sizes[:, 0] / sizes[:, 1]
    low, middle, high = (np.percentile(sizes, share, axis=0).round().astype(int).tolist() for share in (0, 50, 100))
    kinds = np.histogram(aspects, EDGES)[0] / len(numbers)
    sides = (f"{side} {a} to {c}, median {b}" for side, a, b, c in zip(("widths", "heights"), low, middle, high, strict=True))
    title = f"sizes in pixels: {'; '.join(sides)}"
    smaller = int((sizes < survey.image_size[::-1]).all(1).sum())
    asked = f"--image_size {survey.image_size[0]} {survey.image_size[1]}"
    advice = f"{asked} suits them."
    if smaller > len(numbers) / 2:
        advice = f"Most are smaller than {asked}: a smaller one trains faster and loses nothing."
    elif (aspects.std() if len(numbers) > 1 else 0) > 0.3:
        advice += " Their shapes differ: --resize fit keeps all of each picture, crop fills the frame."
    figures = {"min": low, "median": middle, "max": high, "aspects": dict(zip(NAMES, kinds.tolist(), strict=True))}
    bars = {name: float(share) for name, share in zip(NAMES, kinds, strict=True) if share}
    findings = [Finding("info", title, advice, bars=bars, figures=figures)]
    strips = [number for number, aspect in zip(numbers, aspects, strict=True) if max(aspect, 1 / aspect) > EXTREME]
    if strips:
        notes = {number: f"{survey.facts[number].width}x{survey.facts[number].height}" for number in strips}
        title = f"{counted(len(strips), 'image is', 'images are')} more than {EXTREME:g} times as long as wide, or the other way round"
        advice = "Little of them is left when fitted into a square; cut them into pieces or remove them."
        findings.append(Finding("warning", title, advice, singles(strips, notes)))
    return findings
