"""Mean and standard deviation of the channels, and whether the splits agree."""

import numpy as np

from dataloader.checks.findings import Finding
from dataloader.checks.survey import Survey

# Values are in 0..1. Splits of fewer images differ by chance.
SHIFT, ENOUGH = 0.08, 50


def find(survey: Survey) -> list[Finding]:
    """Return mean and standard deviation of every split, each image with equal weight, and a warning where a split differs."""
    found: dict[str, tuple[np.ndarray, np.ndarray, int]] = {}
    for name in survey.catalog.splits:
        facts = [survey.facts[number] for number in survey.numbers(name) if not survey.facts[number].problem]
        if facts:
            mean = np.array([each.mean for each in facts]).mean(0)
            square = np.array([each.square for each in facts]).mean(0)
            found[name] = (mean, np.sqrt(np.maximum(0, square - mean**2)), len(facts))
    if not found:
        return []
    rows = [[name, *(f"{value:.4f}" for value in (*mean, *std))] for name, (mean, std, _) in found.items()]
    first = "train" if "train" in found else next(iter(found))
    words = ["({})".format(", ".join(f"{value:.3f}" for value in values)) for values in found[first][:2]]
    findings = [
        Finding(
            "info",
            f"colors of {first}: mean {words[0]}, standard deviation {words[1]}",
            "Red, green, blue in 0..1. Published weights need the numbers that they were trained with; training uses those by itself.",
            header=["split", "mean R", "mean G", "mean B", "std R", "std G", "std B"],
            rows=rows,
            figures={name: {"mean": mean.tolist(), "std": std.tolist(), "images": count} for name, (mean, std, count) in found.items()},
        )
    ]
    for name, (mean, _, count) in found.items():
        shift = float(np.abs(mean - found[first][0]).max())
        if shift > SHIFT and min(count, found[first][2]) >= ENOUGH:
            title = f"{name} differs from {first} in color: a channel's mean is off by {shift:.2f}"
            advice = "Another camera, light or source? Then metrics on it measure that, too. Split the images at random."
            findings.append(Finding("warning", title, advice))
    return findings
