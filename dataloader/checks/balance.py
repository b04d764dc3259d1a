"""Classes with few images, or many times fewer than others."""

import numpy as np

from dataloader.checks.findings import Finding, Level
from dataloader.checks.survey import Survey
from dataloader.splits.catalog import name_some
from utils.text import counted

# From these ratios of the largest class to the smallest on.
TOLD, WARNED = 3.0, 10.0
FEW = 10


def find(survey: Survey) -> list[Finding]:
    """Return the images of every class and split, with a warning where a class has too few to be learned well."""
    catalog = survey.catalog
    if any(split.truths is not None for split in catalog.splits.values()):
        # Of pixels and boxes, not of images.
        return []
    counts = {name: _counts(split.targets, len(catalog.classes)) for name, split in catalog.splits.items()}
    first = "train" if "train" in counts else next(iter(counts))
    train = counts[first]
    ratio = float(train.max() / max(1, train.min()))
    order = np.argsort(-train, kind="stable")
    shares = train / max(1, len(catalog.splits[first]))
    rows = [[catalog.classes[index], *(str(count[index]) for count in counts.values())] for index in order]
    level: Level = "warning" if ratio >= WARNED else "info"
    title = f"the largest class has {ratio:.3g} times the {first} images of the smallest ({train.max():,} to {train.min():,})"
    if train.max() == train.min():
        title = f"all classes have {counted(int(train.max()), f'{first} image')}"
    advice = "That is even enough."
    if ratio >= TOLD:
        advice = "Try --class_weights effective, and look at the metrics of every class, not only at the accuracy."
    findings = [
        Finding(
            level,
            title,
            advice,
            header=["class", *counts],
            rows=rows,
            bars={catalog.classes[index]: float(shares[index]) for index in order},
            figures={"counts": {name: count.tolist() for name, count in counts.items()}, "ratio": ratio},
        )
    ]
    few = [catalog.classes[index] for index in order if train[index] < FEW]
    if few:
        what = "class has" if len(few) == 1 else "classes have"
        title = f"{len(few)} {what} fewer than {FEW} {first} images: {name_some(few, 5)}"
        findings.append(Finding("warning", title, "Collect more of them, or join them with another class."))
    return findings


def _counts(targets: np.ndarray, classes: int) -> np.ndarray:
    """Return the images of every class, int64 (C,)."""
    if targets.ndim == 1:
        return np.bincount(targets, minlength=classes)
    return (targets > 0).sum(0)
